"""Keep a row of numbers of its own for every item."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from scalelab.core.target import kind_of_device

__all__ = ["Full"]


class _Waiting(list[tuple[Tensor, Tensor]]):
    """Items and gradients of their rows, to be added to the table's own gradient.

    With `are_taken` there is none: whoever updates the table takes them.
    """

    are_taken = False


class _LookUp(torch.autograd.Function):
    """Rows of the table; their gradient waits in `sink` until the table's own gradient is there."""

    @staticmethod
    def forward(ctx: Any, table_VD: Tensor, ids_BL: Tensor, sink: list[Any]) -> Tensor:
        ctx.save_for_backward(ids_BL)
        ctx.sink = sink
        rows_BLD = F.embedding(ids_BL, table_VD)
        return rows_BLD.to(torch.promote_types(rows_BLD.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, grad_BLD: Tensor) -> tuple[None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (ids_BL,) = ctx.saved_tensors
        ctx.sink.append((ids_BL.view(-1), grad_BLD.reshape(-1, grad_BLD.size(-1))))
        return None, None, None


def _add_waiting(waiting: _Waiting, weight: Tensor) -> None:
    while waiting and not waiting.are_taken:
        ids, grad = waiting.pop()
        assert weight.grad is not None
        grad = grad.to(weight.grad.dtype)
        if kind_of_device(weight.device.type) == "cuda":
            # `index_add_` would add in another order each time, and so give other bits.
            weight.grad.index_put_((ids.long(),), grad, accumulate=True)
        else:
            weight.grad.index_add_(0, ids, grad)


class Full(nn.Module):
    """One table, looked up by the encoder and scored by the loss, with one gradient.

    Autograd would give the lookup a second gradient of the size of the table. Here the lookup's
    rows are added to the gradient that the loss formed, by a hook that runs once that is complete;
    so a training step holds exactly one. The loss must send a dense gradient, as all of ours do.
    """

    def __init__(self, *, num_items: int, hidden_dim: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_items + 1, hidden_dim, dtype=dtype))
        self._waiting = _Waiting()
        # The hook must not hold this module: the weight would hold itself, for good.
        self.weight.register_post_accumulate_grad_hook(partial(_add_waiting, self._waiting))

    @property
    def rows_VD(self) -> Tensor:
        """All rows, the padding row first."""
        return self.weight

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Embeddings of `ids_BL`, (B, L, D)."""
        return _LookUp.apply(self.weight, ids_BL, self._waiting)  # pyright: ignore[reportReturnType]

    def keep_lookups(self) -> None:
        """From now on the table gets no gradient: what lookups send waits for `take_lookups`."""
        self._waiting.are_taken = True

    def take_lookups(self) -> list[tuple[Tensor, Tensor]]:
        """What lookups have sent since the last update, for who updates the table row by row."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    @torch.no_grad()
    def reset(self, std: float, generator: Generator | None) -> None:
        """Normal(0, std) everywhere but in the padding row, which is zero and stays so."""
        self._waiting.clear()
        self.weight.normal_(0.0, std, generator=generator)
        self.weight[0].zero_()
