"""What a run refuses before it trains, planning refuses in the same words."""

from typing import Any

import pytest

from scalelab.core.errors import ScalelabError
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

BASE: dict[str, Any] = {
    "data": {"reader": "synthetic", "num_users": 30, "num_items": 60, "min_length": 3},
    "batch": {"size": 8, "max_len": 6},
    "negatives": {"name": "uniform", "num_negatives": 4},
    "model": {"name": "sasrec", "hidden_dim": 8, "num_blocks": 1},
    "loss": {"name": "bce"},
    "device": {"name": "cpu"},
}
SHORT = {"data.min_length": 2, "data.max_length": 3, "data.mean_length": 2.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives.name": "in_batch", "batch.size": 1},
        {"negatives.name": "in_batch", "batch.size": 8, "data.num_users": 1},
        {"negatives.reject": True, "negatives.per": "batch"},
        {"negatives.name": "recent"},
        {**SHORT, "data.test_items": 2},
        {**SHORT, "data.test_items": 5},
        {"batch.packer": "prefixes", "loss.train_on": "last"},
        {"model.num_heads": 3},
        {"loss.name": "sce", "loss.bucket_size_y": 500},
    ],
    ids=str,
)
def test_in_the_same_words(changes: dict[str, Any]) -> None:
    spec = RunSpec.build(with_overrides(BASE, changes))
    with pytest.raises(ScalelabError) as by_run:
        _first_step(spec)
    with pytest.raises(ScalelabError) as by_plan:
        predict(spec)
    assert (by_plan.value.message, by_plan.value.hint) == (by_run.value.message, by_run.value.hint)


def _first_step(spec: RunSpec) -> None:
    trainer = assemble(spec)
    trainer.step(trainer.loader.batch(0, 0), 0, 0)
