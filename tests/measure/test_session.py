import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.errors import DataError
from scalelab.core.events import Observer, Progress
from scalelab.core.limits import Limits
from scalelab.core.profile_document import profile_document
from scalelab.core.records import Metric, Outcome, Record
from scalelab.core.spec import RunSpec
from scalelab.measure.session import out_of_memory, run
from scalelab.train.assemble import assemble

Small = Callable[[dict[str, Any]], RunSpec]


def _totals(record: Record, stage: str) -> dict[str, int | None]:
    return {
        row.kind: row.bytes
        for row in record.memory
        if row.stage == stage and row.component == "total"
    }


def test_a_run_leaves_all_that_the_ledger_asks_for(small: Small) -> None:
    heard: list[Progress] = []
    record = run(small({}), run_id="r", study_id="s", report=heard.append, timeline=True)
    row = record.run
    assert (row.outcome, row.phase, row.error) == (Outcome.DONE, None, None)
    assert (row.num_users, row.num_items, row.epochs) == (300, 900, 2)
    assert row.train_s is not None
    assert row.eval_s is not None
    assert row.wall_s is not None
    assert row.train_s + row.eval_s <= row.wall_s
    assert row.wait_fraction is not None
    assert 0 <= row.wait_fraction < 1
    for stage in ("train", "eval"):
        parts = [
            row.bytes or 0
            for row in record.memory
            if (row.stage, row.kind) == (stage, "requested") and row.component != "total"
        ]
        assert sum(parts) == _totals(record, stage)["requested"]
        assert _totals(record, stage)["reserved"] is None
    # What could not be read has a reason, and what could has none.
    assert all((row.bytes is None) == (row.reason is not None) for row in record.memory)
    assert _totals(record, "process")["host_rss"]
    assert {m.epoch for m in record.metrics if m.split == "valid"} == {1, 2}
    test = {(m.name, m.k): m.value for m in record.metrics if m.split == "test"}
    assert test["oracle_ndcg", 10] > test["ndcg", 10] > 0
    for name in ("ndcg", "hr", "recall", "mrr"):
        assert all(test[f"oracle_{name}", k] > test[name, k] for k in (1, 5, 10, 20))
    assert {m.epoch for m in record.metrics if m.split == "test"} == {row.best_epoch}
    ranks = record.user_ranks.ranks
    assert len(ranks) == test["num_users", None]
    gains = [1 / math.log2(1 + rank) if 0 < rank <= 10 else 0 for rank in ranks]
    assert sum(gains) / len(ranks) == pytest.approx(test["ndcg", 10], abs=1e-9)
    live = peak = 0
    for event in record.timeline:
        live += event.bytes
        peak = max(peak, live)
    assert peak == _totals(record, "train")["requested"]
    assert any(sample.name == "step_s" for sample in record.samples)
    assert heard[-1].best_metric is not None


@pytest.mark.parametrize("steps", [None, 3])
def test_every_epoch_leaves_its_loss_and_its_time(small: Small, steps: int | None) -> None:
    spec = small({"train.epochs": 3, "train.eval_every": 2})
    record = run(spec, run_id="r", steps=steps)
    assert record.run.stopped == "epochs"
    train = [m for m in record.metrics if m.split == "train"]
    epochs = list(range(1, record.run.epochs + 1))
    for name in ("loss", "wall_s"):
        assert [m.epoch for m in train if m.name == name] == epochs
    losses: list[float] = []

    class Losses(Observer):
        def on_epoch_end(self, epoch: int, loss: float, metrics: object) -> None:
            losses.append(loss)

    plain = assemble(spec.with_({"train.max_steps": steps or 0}))
    with plain.observed_by([Losses()]):
        plain.fit()
    assert [m.value for m in train if m.name == "loss"] == losses
    walls = [m.value for m in train if m.name == "wall_s"]
    assert walls == sorted(walls)
    assert walls[-1] <= record.run.train_s + record.run.eval_s


@pytest.mark.slow
def test_patience_is_the_reason_of_the_stop(small: Small) -> None:
    spec = small({"train.epochs": 60, "train.patience": 1, "train.learning_rate": 0.05})
    row = run(spec, run_id="r").run
    assert row.stopped == "patience"
    assert row.epochs < 60


def test_baselines_come_along_where_they_are_asked_for(small: Small) -> None:
    assert run(small({}), run_id="r", steps=1).baselines == ()
    record = run(small({}), run_id="r", steps=1, baselines=True)
    row = record.run
    assert {(b.data_fingerprint, b.protocol) for b in record.baselines} == {
        (row.data_fingerprint, row.protocol)
    }
    found = {(b.name, b.split, b.metric, b.k): b.value for b in record.baselines}
    popularity = assemble(small({})).popularity
    assert found["popularity", "valid", "ndcg", 10] == popularity
    facts = profile_document(record, {})
    assert facts["baselines"]["popularity"]["valid"]["ndcg@10"] == popularity
    assert facts["at_baseline"] is True
    assert facts["still_rising"] is False
    assert facts["stopped"] == "epochs"


def test_measuring_memory_leaves_no_trace_in_the_training(small: Small) -> None:
    spec = small({})
    record = run(spec, run_id="r")
    plain = assemble(spec)
    fit = plain.fit()
    expected = {(e, name): value for e, metrics in fit.history for name, value in metrics.items()}
    measured = {
        (m.epoch, m.name if m.k is None else f"{m.name}@{m.k}"): m.value
        for m in record.metrics
        if m.split == "valid"
    }
    assert measured == expected


def test_a_peak_above_the_budget_is_out_of_memory(small: Small) -> None:
    record = run(small({}), run_id="r", limits=Limits(memory_bytes=1_000_000))
    assert record.run.outcome is Outcome.OOM
    assert record.run.train_s is None
    total = _totals(record, "train")["requested"]
    assert total is not None
    assert total > 1_000_000


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_running_out_of_memory_leaves_phase_and_last_known_peak(
    error: Exception, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small({})
    loss_class = plugins.load("losses", spec.loss.name)
    plain, calls = loss_class.__call__, []

    def dies(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:  # the first is the warm-up
            raise error
        return plain(*args)

    monkeypatch.setattr(loss_class, "__call__", dies)
    record = run(spec, run_id="r")
    assert (record.run.outcome, record.run.phase) == (Outcome.OOM, "loss")
    total = _totals(record, "train")["requested"]
    assert total is not None
    assert total > 4 * 900 * 32
    assert out_of_memory(error)


def test_other_errors_are_failures_of_one_line(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small({})

    def dies(*args: Any) -> Any:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(plugins.load("losses", spec.loss.name), "__call__", dies)
    record = run(spec, run_id="r")
    assert (record.run.outcome, record.run.phase) == (Outcome.FAILED, "loss")
    assert record.run.error == "RuntimeError: first line second line"


def test_a_loss_that_is_no_number_has_diverged(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small({"loss.name": "dense_ce"})
    loss_class = plugins.load("losses", "dense_ce")
    plain = loss_class.__call__
    monkeypatch.setattr(loss_class, "__call__", lambda *args: plain(*args) * torch.nan)
    row = run(spec, run_id="r").run
    assert (row.outcome, row.stopped) == (Outcome.DIVERGED, "diverged")


@pytest.mark.parametrize(
    ("answer", "outcome"), [(True, Outcome.INTERRUPTED), (Outcome.PRUNED, Outcome.PRUNED)]
)
def test_a_stop_ends_the_run_after_an_epoch(answer: Any, outcome: Outcome, small: Small) -> None:
    record = run(small({"train.epochs": 9}), run_id="r", stop=lambda: answer)
    assert (record.run.outcome, record.run.epochs) == (outcome, 1)
    assert {m.split for m in record.metrics} == {"train", "valid"}
    assert record.run.stopped is None


def untimed(record: Record) -> list[Metric]:
    return [metric for metric in record.metrics if metric.name != "wall_s"]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_same_result(small: Small, tmp_path: Path) -> None:
    spec = small({"train.epochs": 4, "train.ema_decay": 0.9})
    whole = run(spec, run_id="whole")
    stopped = run(spec, run_id="first", keep=tmp_path, stop=lambda: True)
    assert (stopped.run.outcome, stopped.run.epochs) == (Outcome.INTERRUPTED, 1)
    again = run(spec, run_id="second", keep=tmp_path)
    assert again.run.outcome is Outcome.DONE
    assert again.run.epochs == whole.run.epochs == 4
    assert untimed(again) == untimed(whole)
    assert [m.epoch for m in again.metrics if m.name == "wall_s"] == [1, 2, 3, 4]
    walls = [m.value for m in again.metrics if m.name == "wall_s"]
    assert walls == sorted(walls)
    # Its time is that of all four epochs, not of the three after the interruption.
    assert stopped.run.train_s is not None
    assert stopped.run.eval_s is not None
    assert again.run.train_s > stopped.run.train_s + again.run.train_s / 10
    assert again.run.eval_s > stopped.run.eval_s


def test_the_seconds_of_a_run_are_kept(small: Small) -> None:
    record = run(small({"train.epochs": 500}), run_id="r", limits=Limits(time_s=0.01))
    assert (record.run.outcome, record.run.stopped) == (Outcome.TIMEOUT, "time")
    assert record.run.error


def test_bad_input_fails_or_raises_as_asked(small: Small, tmp_path: Path) -> None:
    spec = small({"data.min_user_count": 1000})
    record = run(spec, run_id="r")
    assert record.run.outcome is Outcome.FAILED
    assert "no interaction" in (record.run.error or "")
    with pytest.raises(DataError, match="no interaction"):
        run(spec, run_id="r", strict=True)


def test_a_catalog_smaller_than_the_largest_k_is_ranked_whole(small: Small) -> None:
    spec = small({"data.num_items": 15, "data.max_length": 7, "data.mean_length": 6})
    record = run(spec.with_({"train.epochs": 1, "data.exclude_seen": False}), run_id="r")
    assert record.run.outcome is Outcome.DONE, record.run.error
    (hits,) = [m.value for m in record.metrics if (m.split, m.name, m.k) == ("test", "hr", 20)]
    assert hits == 1


def test_files_are_written_where_asked(small: Small, tmp_path: Path) -> None:
    spec = small({"train.epochs": 1})
    run(spec, run_id="r", steps=2, out=tmp_path / "out", save_model=tmp_path / "model")
    assert (tmp_path / "out" / "trace.json").stat().st_size > 1000
    assert (tmp_path / "model" / "weights.safetensors").is_file()
    kept = RunSpec.model_validate_json((tmp_path / "model" / "spec.json").read_text())
    assert kept.train.max_steps == 2
