"""Binary cross-entropy of the target against K sampled negatives (SASRec; BCE+ of the RECE paper)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from scalelab.losses import LossBatch
from scalelab.losses._sampled import Slopes, sampled_loss

__all__ = ["BCE"]


@dataclass(frozen=True, kw_only=True)
class BCE:
    """-log sigmoid(target) - log(1 - sigmoid(negative)) over K negatives.

    `form` says how the 1 + K terms of a position are put together: "mean" over all of them (the code
    of RECE and gSASRec), "sum" (Eq. 1 of the RECE paper), "balanced" (the target's term plus the mean
    of the negatives': TRON). `mask_hits` leaves out negatives that equal the target; the papers' code
    does not, but their samplers never draw it.
    """

    form: Literal["mean", "sum", "balanced"] = "mean"
    mask_hits: bool = True

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.form not in ("mean", "sum", "balanced"):
            raise ValueError(f"form must be 'mean', 'sum' or 'balanced', got {self.form!r}")

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions."""
        return sampled_loss(
            self._objective, hidden_ND, item_table_VD, batch, mask_hits=self.mask_hits
        )

    def _objective(self, target_T: Tensor, negative_TK: Tensor) -> Slopes:
        count_T = (negative_TK > -torch.inf).sum(1).to(target_T.dtype)
        if self.form == "mean":
            target_weight_T = negative_weight_T = 1 / (1 + count_T)
        elif self.form == "sum":
            target_weight_T = negative_weight_T = torch.ones_like(count_T)
        else:
            target_weight_T, negative_weight_T = (
                torch.ones_like(count_T),
                1 / count_T.clamp_(min=1),
            )
        loss_T = target_weight_T * F.softplus(-target_T)
        loss_T += negative_weight_T * F.softplus(negative_TK).sum(1)
        return Slopes(
            loss_T,
            -target_weight_T * torch.sigmoid(-target_T),
            negative_TK.sigmoid_().mul_(negative_weight_T[:, None]),
        )
