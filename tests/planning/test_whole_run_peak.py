"""The recorded peak is that of the whole run: of every step it takes and every block it ranks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalelab.core.records import Record
from scalelab.core.spec import RunSpec
from scalelab.measure import passes
from scalelab.measure.session import run
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

Small = Callable[..., RunSpec]


def recorded(record: Record, stage: str) -> int:
    (total,) = [
        row.bytes
        for row in record.memory
        if (row.stage, row.kind, row.component) == (stage, "requested", "total")
    ]
    assert total is not None
    return total


@pytest.fixture
def peak_of_every_step(
    peak_of_step: Callable[..., int],
) -> Callable[[RunSpec], dict[tuple[int, int], int]]:
    """The peaks by epoch and step."""

    def measure(spec: RunSpec) -> dict[tuple[int, int], int]:
        trainer = assemble(spec)
        return {
            (epoch, step): peak_of_step(trainer, epoch, step)
            for epoch in range(spec.train.epochs)
            for step in range(trainer.loader.num_steps)
        }

    return measure


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"loss.name": "dense_ce"},
        {"loss.name": "sampled_softmax", "negatives.per": "sequence"},
        # Rows decide here, not positions: memory is not that of positions alone.
        {"loss.name": "bce", "data.num_items": 160, "model.num_blocks": 3, "batch.size": 8},
        # Neither decides alone where chunks are rounded: the step with most positions needs less.
        {"loss.name": "rece", "loss.n_buckets": 12},
        {"loss.name": "sce", "loss.bucket_size_y": 500, "model.hidden_dim": 8},
    ],
    ids=str,
)
def test_no_step_of_any_epoch_needs_more(
    small: Small,
    peak_of_every_step: Callable[[RunSpec], dict[tuple[int, int], int]],
    changes: dict[str, object],
) -> None:
    spec = small({"train.epochs": 6, "data.num_users": 120, "train.eval_every": 6} | changes)
    every = peak_of_every_step(spec)
    record = run(spec, run_id="r")
    assert recorded(record, "train") == max(every.values())
    prediction = predict(spec)
    assert prediction.memory["requested"]["total"] == max(every.values())
    # What the record says of the step is true, and it is what the prediction says.
    said = {s.name: s.value for s in record.samples if s.probe == "largest"}
    facts = prediction.as_document()["largest_step"]
    assert {name: said[name] for name in facts} == facts
    assert every[int(said["epoch"] or 0) - 1, int(said["step"] or 0) - 1] == max(every.values())


def test_a_later_epoch_counts(small: Small) -> None:
    spec = small({"train.epochs": 30, "loss.name": "dense_ce"})
    first, all_epochs = predict(spec.with_({"train.epochs": 1})), predict(spec)
    assert all_epochs.peak_bytes > first.peak_bytes
    assert (all_epochs.as_document()["largest_step"]["epoch"] or 0) > 1
    # A run that ends within the first epoch has no later one; the epoch is looked at as a whole.
    limited = predict(spec.with_({"train.max_steps": 2}))
    assert limited.peak_bytes == first.peak_bytes


@pytest.mark.slow
def test_where_the_search_is_too_costly_the_largest_possible_step_is_measured(
    small: Small,
    peak_of_every_step: Callable[[RunSpec], dict[tuple[int, int], int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = small({"train.epochs": 6, "data.num_users": 120, "train.eval_every": 6})
    most = max(peak_of_every_step(spec).values())
    monkeypatch.setattr("scalelab.batches.steps._MOST_SEARCHED", 100)
    monkeypatch.setattr("scalelab.batches.steps._FOUND", {})
    record = run(spec, run_id="r", steps=None)
    assert recorded(record, "train") >= most
    assert recorded(record, "train") == predict(spec).memory["requested"]["total"]
    said = {s.name: s.value for s in record.samples if s.probe == "largest"}
    assert said["epoch"] is None
    assert predict(spec).as_document()["largest_step"]["epoch"] is None


@pytest.fixture
def by_activity(small: Small, tmp_path: Path) -> RunSpec:
    """Users from the least to the most active one, so that the first block is the smallest."""
    rng = np.random.default_rng(0)
    lengths = np.sort(np.minimum(rng.geometric(0.05, 900) + 2, 60))
    table = {
        "user": np.repeat(np.arange(len(lengths)), lengths),
        "item": rng.integers(0, 30_000, lengths.sum()),
        "ts": np.concatenate([np.arange(length) for length in lengths]),
    }
    pq.write_table(pa.table(table), tmp_path / "sorted.parquet")
    tables = small({}).as_sections()
    tables["data"] = {"reader": "table", "path": str(tmp_path / "sorted.parquet")}
    return RunSpec.build(tables)


@pytest.mark.slow
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_no_block_of_evaluation_needs_more(by_activity: RunSpec, exclude_seen: bool) -> None:
    spec = by_activity.with_({"data.exclude_seen": exclude_seen, "train.epochs": 1})
    trainer = assemble(spec)
    passes.training_pass(trainer)
    whole = {}
    for split in ("valid", "test"):
        account = passes.account_of(trainer)
        with trainer.observed_by([account]), account:
            trainer.evaluate(split)
        whole[split] = account.peak_bytes
    account = passes.account_of(trainer)
    with trainer.observed_by([account]), account:
        trainer.evaluate("test", block=0)
    first = account.peak_bytes
    record = run(spec, run_id="r")
    assert recorded(record, "eval") == max(whole.values()) > first
    prediction = predict(spec)
    assert prediction.evaluation["requested"]["total"] == max(whole.values())
    said = {s.name: s.value for s in record.samples if s.probe == "largest"}
    block = prediction.as_document()["largest_block"]
    assert block["block"] > 1
    assert said[f"{block['split']}_block"] == block["block"]
