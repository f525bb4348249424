"""On a GPU a validation waits at its end alone, however many blocks it takes.

The one evaluation on test waits after each block, for the popularity of what it recommends.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble


@pytest.mark.gpu
@pytest.mark.parametrize("model", plugins.available("models"))
def test_a_validation_waits_for_the_gpu_at_its_end_alone(
    small: Callable[..., RunSpec], model: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    changes = {"device.name": "cuda", "model.name": model, "data.num_users": 60}
    trainer = assemble(small(changes))
    whole = trainer.evaluate("valid")
    waits = []
    for block_bytes in (2**28, 1):
        trainer.evaluator = replace(trainer.evaluator, block_bytes=block_bytes)
        try:
            torch.cuda.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                found = trainer.evaluate("valid")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(len(heard))
        assert found == pytest.approx(whole)
    assert waits[0] == waits[1] <= 6
