"""A small run that trains in a second."""

import pytest

from scalelab.core.spec import RunSpec

TABLES = {
    "data": {"reader": "synthetic", "num_users": 300, "num_items": 120},
    "batch": {"packer": "first_fit", "size": 32, "max_len": 12},
    "negatives": [{"name": "uniform", "num_negatives": 8}],
    "model": {"name": "sasrec", "hidden_dim": 16, "num_blocks": 1, "dropout": 0.1},
    "loss": {"name": "cross_entropy"},
    "train": {"epochs": 3, "patience": 0, "learning_rate": 0.01},
    "device": {"name": "cpu"},
}


@pytest.fixture
def small() -> RunSpec:
    return RunSpec.build(TABLES)
