"""Define what a streamed loss hands to the optimizer of the item table."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, is_grad_enabled
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["RowGradient", "TableGradient", "streamed_loss"]


class RowGradient(NamedTuple):
    """Items, (M,), and what is added to the gradients of their rows, (M, D); items may repeat."""

    ids_M: Tensor
    rows_MD: Tensor


class TableGradient(ABC):
    """The gradient of the item table by one batch, as far as it can be known without making it.

    It reads the table that it was made with: `add_tile` before any of the tile's rows is updated.
    """

    touches_all = False
    """Whether rows beside those of `single_rows` have a gradient, which `add_tile` then adds."""

    scale: Tensor | None = None
    """The gradient of the loss's sum, known once its backward pass has run."""

    @abstractmethod
    def single_rows(self) -> list[RowGradient]:
        """The gradients of single rows. Called once: it may hand its memory over."""

    def add_tile(self, grad_WD: Tensor, first: int, last: int) -> None:  # noqa: B027
        """Add to `grad_WD` the gradient of the rows `first:last`, but for that of `single_rows`."""


# (hidden_ND, whether its gradient is wanted) -> sum of the losses, gradient of the hidden states.
Compute = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]


def streamed_loss(
    compute: Compute, hidden_ND: Tensor, gradient: TableGradient, *, positions: int
) -> Tensor:
    """The mean of the losses of `compute` over `positions`; `gradient` learns its scale.

    The gradient of the hidden states is handed over as `loss_with_gradients` does.
    """
    wanted = is_grad_enabled() and hidden_ND.requires_grad
    return _StreamedLoss.apply(hidden_ND, compute, gradient, positions, wanted)  # pyright: ignore


class _StreamedLoss(Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        compute: Compute,
        gradient: TableGradient,
        positions: int,
        wanted: bool,
    ) -> Tensor:
        loss, ctx.grad_hidden_ND = compute(hidden_ND, wanted)
        ctx.gradient, ctx.positions = gradient, positions
        return loss / positions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grad_hidden_ND is None:
            raise RuntimeError(
                "this loss hands its gradients out once: call the loss again for a second backward"
            )
        grad_hidden_ND, ctx.grad_hidden_ND = ctx.grad_hidden_ND, None
        ctx.gradient.scale = scale = scale / ctx.positions
        return grad_hidden_ND.mul_(scale), None, None, None, None
