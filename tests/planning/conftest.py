"""A small run whose step is large enough to mean something."""

from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.spec import RunSpec

Small = Callable[[dict[str, Any]], RunSpec]


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
