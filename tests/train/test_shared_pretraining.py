"""A pre-training is done once for runs that differ only in what comes after it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.core.events import Observer
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.measure.session import run
from scalelab.train.assemble import assemble
from scalelab.train.fit import Fit
from scalelab.train.shared_pretraining import shared_folder
from scalelab.train.trainer import Trainer
from tests.train.pretraining import Epochs, same, weights, write_attributes

Pretrained = Callable[..., RunSpec]

LATER = [
    {"loss.name": "bce"},
    {"loss.name": "sampled_softmax", "negatives.num_negatives": 3},
    {"train.epochs": 2, "train.patience": 1, "train.eval_every": 2},
    {"evaluate.k": [3], "evaluate.metric": "hr@3"},
]
OTHERS = [
    {"train.seed": 1},
    {"model.pretrain_epochs": 3},
    {"model.hidden_dim": 8},
    {"model.mask_prob": 0.5},
    {"train.learning_rate": 0.02},
    {"train.max_steps": 5},
    {"batch.size": 16},
    {"data.min_item_count": 2},
]


def folder(spec: RunSpec, tmp_path: Path, data: str = "data") -> Path | None:
    return shared_folder(spec, data, tmp_path / "checkpoints" / "run")


def fitted(trainer: Trainer, spec: RunSpec, tmp_path: Path) -> tuple[Fit, list[tuple[str, int]]]:
    noted = Epochs()
    with trainer.observed_by([noted]):
        fit = trainer.fit(shared=folder(spec, tmp_path))
    return fit, noted.ended


@pytest.mark.parametrize("later", LATER, ids=lambda c: next(iter(c)))
def test_a_run_that_differs_later_takes_it_over_to_the_bit(
    pretrained: Pretrained, tmp_path: Path, later: dict[str, Any]
) -> None:
    first, second = pretrained(), pretrained(later)
    assert folder(first, tmp_path) == folder(second, tmp_path)
    fitted(assemble(first), first, tmp_path)
    alone, sharing = assemble(second), assemble(second)
    expected = alone.fit()
    fit, ended = fitted(sharing, second, tmp_path)
    assert {kind for kind, _ in ended} == {"train"}
    assert fit.pretraining == expected.pretraining
    assert fit.history == expected.history
    assert same(weights(sharing), weights(alone))


@pytest.mark.parametrize("other", OTHERS, ids=lambda c: next(iter(c)))
def test_another_pretraining_lies_elsewhere(
    pretrained: Pretrained, tmp_path: Path, other: dict[str, Any]
) -> None:
    assert folder(pretrained(), tmp_path) != folder(pretrained(other), tmp_path)


def test_other_data_or_attributes_lie_elsewhere(pretrained: Pretrained, tmp_path: Path) -> None:
    spec = pretrained()
    before = folder(spec, tmp_path)
    assert before != folder(spec, tmp_path, data="other")
    write_attributes(tmp_path / "attributes.json", num_attributes=20)
    assert before != folder(pretrained(), tmp_path)


def test_without_pretraining_or_folder_there_is_nothing_to_share(
    pretrained: Pretrained, small: Pretrained, tmp_path: Path
) -> None:
    assert folder(small(), tmp_path) is None
    assert folder(pretrained({"model.pretrain_epochs": 0}), tmp_path) is None
    assert shared_folder(pretrained(), "data", None) is None


def test_a_run_that_was_interrupted_shares_what_it_ends_with(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    spec, other = pretrained(), pretrained({"loss.name": "bce"})
    shared = folder(spec, tmp_path)
    begun, resumed, third = assemble(spec), assemble(spec), assemble(other)
    begun.fit(stop=lambda: True, keep=tmp_path / "keep", shared=shared)
    assert shared is not None
    assert not shared.exists()  # one epoch of two
    resumed.fit(keep=tmp_path / "keep", shared=shared)
    _, ended = fitted(third, other, tmp_path)
    assert {kind for kind, _ in ended} == {"train"}


def test_seconds_of_pretraining_are_those_of_the_run_that_did_it(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    spec = pretrained()
    shared = folder(spec, tmp_path)
    first, second = Fit(), Fit()

    class Seconds(Observer):
        def on_pretraining_epoch_end(self, epoch: int, objectives: Any) -> None:
            first.spent_s = {"train": 100.0 * epoch, "evaluate": 0.0}

    trainer = assemble(spec)
    with trainer.observed_by([Seconds()]):
        trainer.fit(fit=first, shared=shared)
    assemble(pretrained({"loss.name": "bce"})).fit(fit=second, shared=shared)
    assert second.spent_s == {"train": 200.0, "evaluate": 0.0}


def test_a_damaged_one_is_told_and_done_anew(
    pretrained: Pretrained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = pretrained()
    fitted(assemble(spec), spec, tmp_path)
    shared = folder(spec, tmp_path)
    assert shared is not None
    for file in shared.glob("weights*"):
        file.write_bytes(file.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        _, ended = fitted(assemble(spec), spec, tmp_path)
    assert ("pretrain", 1) in ended
    assert "damaged" in caplog.text
    # The next run finds a whole one.
    _, ended = fitted(assemble(spec), spec, tmp_path)
    assert {kind for kind, _ in ended} == {"train"}


def test_what_cannot_be_written_is_told_and_the_run_goes_on(
    pretrained: Pretrained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder would be")
    spec = pretrained()
    with caplog.at_level(logging.WARNING):
        fit, _ = fitted(assemble(spec), spec, tmp_path)
    assert fit.stopped == "epochs"
    assert "cannot keep the pre-training" in caplog.text


def test_nothing_half_written_is_left(pretrained: Pretrained, tmp_path: Path) -> None:
    spec = pretrained()
    fitted(assemble(spec), spec, tmp_path)
    assert [folder(spec, tmp_path)] == list((tmp_path / "checkpoints").iterdir())


def test_runs_of_a_sweep_share_it_beside_their_checkpoints(
    pretrained: Pretrained, tmp_path: Path
) -> None:
    root = tmp_path / "ledger.checkpoints"
    records = {
        loss: run(pretrained({"loss.name": loss}), run_id=loss, keep=root / loss)
        for loss in ("cross_entropy", "bce")
    }
    (shared,) = root.glob("pretrained-*")
    facts = json.loads((shared / "facts.json").read_text())
    rows = [
        [(m.epoch, m.name, m.value) for m in record.metrics if m.split == "pretrain"]
        for record in records.values()
    ]
    assert rows[0] == rows[1] != []
    for record in records.values():
        assert record.run.outcome is Outcome.DONE
        assert record.run.train_s is not None
        # The second did not pre-train, and its seconds hold those of the first one's.
        assert record.run.train_s > facts["spent_s"]["train"] > 0
