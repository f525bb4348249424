"""The step that is planned is the largest of 150 epochs, also for losses that cut positions into
chunks: with these, a step of fewer positions may need more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.batches.batch import BatchShape
from scalelab.batches.steps import Steps
from scalelab.core.spec import RunSpec
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.planning.fake_tensor_run import FakeTensorRun
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

EPOCHS = 150
# Steps of fewer positions than this share of the most are far below the peak: the tiles of RECE
# and SCE are rounded to whole chunks, a few positions each.
NEAR = 0.96


def first_of_each_shape(steps: Steps) -> dict[BatchShape, tuple[int, int]]:
    """Epoch and step of the first of each sizes, one step after the other."""
    found: dict[BatchShape, tuple[int, int]] = {}
    for epoch in range(EPOCHS):
        for step in range(steps.num_steps):
            found.setdefault(steps.shape(epoch, step), (epoch, step))
    return found


def predicted(spec: RunSpec, data: LengthsOnly, shape: BatchShape, num_steps: int) -> int:
    run = FakeTensorRun(spec, data.num_items, num_users=len(data.train))
    return run.train(shape, num_steps).peak_bytes


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["rece", "sce"])
@pytest.mark.parametrize(("name", "size"), [("amazon-beauty", 128), ("ml-100k", 32)])
def test_no_step_of_150_epochs_needs_more(
    shared: Path, peak_of_step: Callable[..., int], name: str, size: int, loss: str
) -> None:
    spec = RunSpec.load(
        "sasrec-beauty",
        {
            "data.path": str(shared / "data" / name / "interactions.parquet"),
            "batch.size": size,
            "loss.name": loss,
            "device.name": "cpu",
            "device.threads": 1,
            "train.epochs": EPOCHS,
            "model.num_blocks": 1,
        },
    )
    data = lengths(spec.data)
    steps = Steps(data.train, batch=spec.batch, seed=spec.train.seed, train_on=spec.loss.train_on)
    first = first_of_each_shape(steps)
    prediction = predict(spec, data=data)
    planned = prediction.memory["requested"]["total"]
    assert planned is not None
    # Memory never falls with more rows of as many positions.
    by_positions: dict[int, BatchShape] = {}
    for shape in first:
        same = by_positions.setdefault(shape.num_positions, shape)
        by_positions[shape.num_positions] = max(same, shape, key=lambda s: s.num_rows)
    near = {s for n, s in by_positions.items() if n >= NEAR * max(by_positions)}
    near |= set(sorted(first, key=lambda s: (s.num_rows, s.num_positions))[-2:])
    peaks = {shape: predicted(spec, data, shape, steps.num_steps) for shape in near}
    assert planned == max(peaks.values())
    assert min(peaks.values()) < planned
    # The smallest and the largest of these, measured where they are.
    chosen = [most(peaks, key=lambda shape: peaks[shape]) for most in (min, max)]
    trainer = assemble(spec)
    measured = [peak_of_step(trainer, *first[shape]) for shape in chosen]
    assert measured == [peaks[shape] for shape in chosen]
