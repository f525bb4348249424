"""A run small enough for a test, and the GPU that it trains on."""

from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.spec import RunSpec

Small = Callable[..., RunSpec]


@pytest.fixture
def cuda() -> str:
    """The name of the device; skips where no GPU answers."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    return "cuda"


@pytest.fixture
def small() -> Small:
    """A spec whose step takes some megabytes; keys of any section can be changed."""

    def build(changes: dict[str, Any] | None = None) -> RunSpec:
        base: dict[str, Any] = {
            "data.num_users": 600,
            "data.num_items": 3000,
            "data.max_eval_users": 64,
            "batch.size": 32,
            "batch.max_len": 40,
            "model.hidden_dim": 32,
            "negatives.num_negatives": 16,
            "train.epochs": 1,
            "train.patience": 0,
        }
        return RunSpec.load("sasrec-synthetic", base | (changes or {}))

    return build
