"""Define how rows of the item table are updated from their gradients, in place.

A rule sees some rows at a time: their weights, their gradients and their state, and the number of
the update. Nothing of it depends on other rows, which is why a table can be updated tile by tile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["RULES", "Rates", "Rule"]

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one update, the `number`-th from 1; `number_1` is the same as a float32 tensor."""

    learning_rate: float
    weight_decay: float
    number: int
    number_1: Tensor


class Rule:
    """How rows are updated. `full` states have the table's shape, `by_row` one number a row."""

    full: ClassVar[tuple[str, ...]] = ()
    by_row: ClassVar[tuple[str, ...]] = ()

    def moves_untouched(self, weight_decay: float) -> bool:
        """Whether a row moves, or its state does, where its gradient is 0."""
        return True

    def update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: Mapping[str, Tensor], rates: Rates
    ) -> None:
        """Update rows and state in place; the gradient may be overwritten."""
        raise TypeError(f"{type(self).__name__} has no update")


class _Sgd(Rule):
    """w -= lr (g + decay w), as torch.optim.SGD."""

    def moves_untouched(self, weight_decay: float) -> bool:
        return weight_decay > 0

    def update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: Mapping[str, Tensor], rates: Rates
    ) -> None:
        if rates.weight_decay:
            grad_WD.add_(rows_WD, alpha=rates.weight_decay)
        rows_WD.add_(grad_WD, alpha=-rates.learning_rate)


class _Adam(Rule):
    """torch.optim.Adam, whose weight decay is a part of the gradient."""

    full = ("exp_avg", "exp_avg_sq")
    kernel = staticmethod(torch.ops.aten._fused_adam_.default)

    def update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: Mapping[str, Tensor], rates: Rates
    ) -> None:
        self.kernel(
            [rows_WD],
            [grad_WD],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [rates.number_1],
            lr=rates.learning_rate,
            beta1=_BETA1,
            beta2=_BETA2,
            weight_decay=rates.weight_decay,
            eps=_EPS,
            amsgrad=False,
            maximize=False,
        )


class _AdamW(_Adam):
    """torch.optim.AdamW, whose weight decay takes a share off the weights."""

    kernel = staticmethod(torch.ops.aten._fused_adamw_.default)


class _LazyAdam(_AdamW):
    """AdamW for the rows that a step touches; all others wait, decay and momentum included."""

    def moves_untouched(self, weight_decay: float) -> bool:
        return False


class _RowwiseAdagrad(Rule):
    """Adagrad with one step size a row: the sum of the mean squares of the row's gradients.

    w -= lr decay w + lr g / (sqrt(sum) + eps). As FBGEMM's row-wise Adagrad.
    """

    by_row = ("sum",)

    def moves_untouched(self, weight_decay: float) -> bool:
        return weight_decay > 0

    def update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: Mapping[str, Tensor], rates: Rates
    ) -> None:
        sum_W = state["sum"].add_(_mean_squares(grad_WD))
        if rates.weight_decay:
            rows_WD.mul_(1 - rates.learning_rate * rates.weight_decay)
        rows_WD.addcdiv_(grad_WD, sum_W.sqrt().add_(_EPS).unsqueeze(1), value=-rates.learning_rate)


class _RowwiseAdam(Rule):
    """AdamW whose second moment is one number a row, the mean over the row's squares.

    As FBGEMM's partial row-wise Adam; the first moment has the table's size.
    """

    full = ("exp_avg",)
    by_row = ("exp_avg_sq",)

    def update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: Mapping[str, Tensor], rates: Rates
    ) -> None:
        first, second = 1 - _BETA1**rates.number, 1 - _BETA2**rates.number
        mean_WD, square_W = state["exp_avg"], state["exp_avg_sq"]
        square_W.lerp_(_mean_squares(grad_WD), 1 - _BETA2)
        mean_WD.lerp_(grad_WD, 1 - _BETA1)
        if rates.weight_decay:
            rows_WD.mul_(1 - rates.learning_rate * rates.weight_decay)
        size_W1 = square_W.sqrt().mul_(second**-0.5).add_(_EPS).unsqueeze(1)
        rows_WD.addcdiv_(mean_WD, size_W1, value=-rates.learning_rate / first)


def _mean_squares(grad_WD: Tensor) -> Tensor:
    return torch.linalg.vector_norm(grad_WD, dim=1).square_().div_(grad_WD.shape[1])


RULES: dict[str, type[Rule]] = {
    "adam": _Adam,
    "adamw": _AdamW,
    "sgd": _Sgd,
    "lazy_adam": _LazyAdam,
    "rowwise_adagrad": _RowwiseAdagrad,
    "rowwise_adam": _RowwiseAdam,
}
