"""A predicted batch takes the bytes that the loader's takes, on a CPU and on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalelab.core.spec import RunSpec
from scalelab.core.target import Target, predicted_target
from scalelab.measure.passes import batch_tensors
from scalelab.planning.fake_tensor_run import empty_batch
from scalelab.train.assemble import assemble


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_types_sizes_and_storages_are_the_loaders(
    kind: str, small: Callable[[dict[str, Any]], RunSpec]
) -> None:
    spec = small(
        {
            "loss.name": "bce",
            "negatives": [
                {"name": "uniform", "num_negatives": 3, "per": "position"},
                {"name": "uniform", "num_negatives": 5, "per": "sequence"},
                {"name": "popularity", "num_negatives": 7, "per": "batch"},
            ],
        }
    )
    token = predicted_target.set(Target(kind))
    try:
        batch = assemble(spec).loader.batch(0, 0)
        there, empty = batch.to("cpu"), empty_batch(batch.shape, spec.negatives)
    finally:
        predicted_target.reset(token)

    def layout(tensors: list[torch.Tensor]) -> list[tuple[Any, ...]]:
        return [
            (t.dtype, t.shape, t.untyped_storage().nbytes(), t.storage_offset()) for t in tensors
        ]

    assert layout(batch_tensors(there)) == layout(batch_tensors(empty))
    storages = {t.untyped_storage().data_ptr() for t in batch_tensors(there)}
    assert len(storages) == (1 if kind == "cuda" else 10)
    for before, after in zip(batch_tensors(batch), batch_tensors(there), strict=True):
        assert torch.equal(before, after)
