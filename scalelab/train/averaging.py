"""Keep an exponential moving average of the weights that an optimizer makes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["averaged", "keep_average"]

_KEY = "average"


def keep_average(optimizer: Optimizer, decay: float) -> None:
    """After every step, average <- decay * average + (1 - decay) * weights, for each parameter.

    It starts at the weights after the first step and lies in the optimizer's state, so that it is
    counted, kept in checkpoints, predicted and reset with it. One more tensor a parameter.
    """

    @torch.no_grad()
    def follow(*_: Any) -> None:
        # A parameter without a gradient has not moved, and state would end Adam's wait for it.
        moved = [p for p in _parameters(optimizer) if p.grad is not None]
        known = [p for p in moved if _KEY in optimizer.state[p]]
        if known:
            averages = [optimizer.state[p][_KEY] for p in known]
            torch._foreach_lerp_(averages, known, 1.0 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for parameter in moved:
            if _KEY not in optimizer.state[parameter]:
                optimizer.state[parameter][_KEY] = parameter.detach().clone()

    optimizer.register_step_post_hook(follow)


@contextmanager
def averaged(optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Inside, the weights are their averages; where none are kept, they stay as they are."""
    for optimizer in optimizers:
        _exchange(optimizer)
    try:
        yield
    finally:
        for optimizer in optimizers:
            _exchange(optimizer)


def _exchange(optimizer: Optimizer) -> None:
    """Storages change places; nothing is copied but what shares a storage.

    That are the weights of cuDNN's recurrent layers: taken out of their one buffer they would be
    packed anew at every call.
    """
    for parameter in _parameters(optimizer):
        state = optimizer.state.get(parameter, {})
        if _KEY not in state:
            continue
        weights, average = parameter.data, state[_KEY]
        if weights.untyped_storage().nbytes() == weights.nbytes:
            parameter.data, state[_KEY] = average, weights
        else:
            kept = weights.clone()
            weights.copy_(average)
            average.copy_(kept)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
