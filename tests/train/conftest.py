"""A small run that trains in a second."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.core.spec import RunSpec, with_overrides
from tests.train.pretraining import write_attributes

TABLES = {
    "data": {"reader": "synthetic", "num_users": 300, "num_items": 120, "max_length": 40},
    "batch": {"packer": "first_fit", "size": 32, "max_len": 12},
    "negatives": [{"name": "uniform", "num_negatives": 8}],
    "model": {"name": "sasrec", "hidden_dim": 16, "num_blocks": 1, "dropout": 0.1},
    "loss": {"name": "cross_entropy"},
    "train": {"epochs": 3, "patience": 0, "learning_rate": 0.01},
    "device": {"name": "cpu"},
}


@pytest.fixture(scope="session")
def small() -> Callable[..., RunSpec]:
    """The run with some keys changed, as keyword arguments or a mapping."""
    return lambda overrides=None: RunSpec.build(with_overrides(TABLES, overrides or {}))


@pytest.fixture
def pretrained(small: Callable[..., RunSpec], tmp_path: Path) -> Callable[..., RunSpec]:
    """A small run with a pre-training of two epochs, and some keys changed."""
    file = write_attributes(tmp_path / "attributes.json")
    model = {
        "name": "s3rec",
        "hidden_dim": 16,
        "num_blocks": 1,
        "attributes": str(file),
        "pretrain_epochs": 2,
    }
    return lambda changes=None: small({"model": model, **(changes or {})})
