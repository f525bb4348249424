"""A small run whose step is large enough to mean something."""

from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.spec import RunSpec
from scalelab.measure import passes
from scalelab.train.trainer import Trainer

Small = Callable[[dict[str, Any]], RunSpec]
PeakOfStep = Callable[[Trainer, int, int], int]


@pytest.fixture
def small() -> Small:
    """A spec of a few megabytes; keys of any table can be changed."""

    def build(changes: dict[str, Any]) -> RunSpec:
        base = {
            "data.num_users": 400,
            "data.num_items": 4000,
            "data.max_length": 80,
            "batch.size": 96,
            "batch.max_len": 40,
            "model.hidden_dim": 32,
            "negatives.num_negatives": 16,
            "device.name": "cpu",
        }
        return RunSpec.load("sasrec-synthetic", base | changes)

    return build


@pytest.fixture(scope="session")
def peak_of_step() -> PeakOfStep:
    """The peak of a step of an epoch, as the account measures it on a step with all its state."""

    def measure(trainer: Trainer, epoch: int, step: int) -> int:
        batch = trainer.loader.batch(epoch, step)
        trainer.step(batch, epoch, step)
        account = passes.account_of(trainer)
        account.label("batch", passes.batch_tensors(batch))
        with trainer.observed_by([account]), account:
            trainer.step(batch, epoch, step)
        return account.peak_bytes

    return measure
