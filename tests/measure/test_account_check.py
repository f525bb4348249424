"""The account of every run is held against a count that knows none of its rules."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.events import Stage
from scalelab.core.records import Memory, Outcome
from scalelab.core.spec import RunSpec
from scalelab.measure import scratch
from scalelab.measure.account_check import account_error
from scalelab.measure.passes import training_pass
from scalelab.measure.session import run
from scalelab.train.assemble import assemble

Small = Callable[[dict[str, Any]], RunSpec]


def test_a_run_stores_how_far_its_account_is_from_the_allocator(small: Small) -> None:
    record = run(small({"loss.name": "bce", "train.epochs": 1}), run_id="checked")
    assert record.run.outcome is Outcome.DONE
    assert record.run.account_error == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("factor", "messages"), [(1.02, 1), (0.98, 1), (1.0005, 0)])
def test_an_account_that_is_wrong_by_more_than_a_thousandth_is_reported(
    factor: float, messages: int, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = assemble(small({"loss.name": "bce"}))
    account, choice = training_pass(trainer)
    account.peak_bytes = round(account.peak_bytes * factor)
    with caplog.at_level(logging.WARNING):
        error = account_error(trainer, account, choice, [])
    assert error == pytest.approx(factor - 1, abs=1e-5)
    assert len(caplog.messages) == messages


def test_on_cuda_the_allocator_has_counted_in_its_own_pass(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = assemble(small({"loss.name": "bce"}))
    account, choice = training_pass(trainer)

    class Cuda:
        type = "cuda"

    monkeypatch.setattr(type(trainer.parts), "device", property(lambda _: Cuda()), raising=False)
    counted = Memory(
        stage=Stage.TRAIN,
        kind="requested_by_allocator",
        component="tensors",
        bytes=account.peak_bytes // 2,
        reason=None,
        source="measured",
    )
    assert account_error(trainer, account, choice, [counted]) == pytest.approx(1.0, rel=1e-4)
    assert account_error(trainer, account, choice, []) is None


def test_a_step_of_many_tiles_is_counted_in_pieces(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No piece holds the events of the whole step, and the count is the same."""
    changes = {"train.table.update": "streamed", "data.num_items": 30_000, "batch.size": 8}
    trainer = assemble(small(changes))
    account, choice = training_pass(trainer)
    lengths: list[list[int]] = []
    read = scratch._Record.read

    def noted(record: Any, threads: list[list[Any]]) -> None:
        lengths[-1].append(sum(map(len, threads)))
        read(record, threads)

    monkeypatch.setattr(scratch._Record, "read", noted)
    for tiles in (10**9, 7):
        monkeypatch.setattr(scratch, "_TILES_A_PIECE", tiles)
        lengths.append([])
        assert account_error(trainer, account, choice, []) == 0.0
    whole, pieces = lengths
    assert len(whole) == 1 < len(pieces)
    assert max(pieces) < whole[0] / 2
