"""A small run."""

from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.core.spec import RunSpec

# Losses that only a GPU runs have no CPU test here.
GPU_ONLY = {"cut_ce", "liger_ce"}

Small = Callable[[dict[str, Any]], RunSpec]


def cpu_parts(kind: str) -> list[str]:
    """Parts of a kind that this machine can run."""
    found = []
    for name in plugins.available(kind):
        try:
            plugins.load(kind, name)
        except MissingExtra:
            continue
        if name not in GPU_ONLY:
            found.append(name)
    return found


@pytest.fixture
def small() -> Small:
    """A spec that trains in a second; keys of any table can be changed."""

    def build(changes: dict[str, Any]) -> RunSpec:
        base = {
            "data.num_users": 300,
            "data.num_items": 900,
            "data.mean_length": 15,
            "data.max_length": 60,
            "batch.size": 64,
            "batch.max_len": 30,
            "model.hidden_dim": 32,
            "negatives.num_negatives": 8,
            "train.epochs": 2,
            "device.name": "cpu",
        }
        return RunSpec.load("sasrec-synthetic", base | changes)

    return build
