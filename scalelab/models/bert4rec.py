"""Encode histories with masked items by attention in both directions (BERT4Rec)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput, Objective
from scalelab.models._blocks import (
    Block,
    check_transformer,
    reset_layers,
    segment_mask,
)
from scalelab.models._lookup import rows_at
from scalelab.models._options import (
    Activation,
    Dropout,
    HiddenDim,
    InitStd,
    InnerDim,
    NumBlocks,
    NumHeads,
)
from scalelab.models.tables import item_table

__all__ = ["BERT4Rec"]


class BERT4Rec(nn.Module):
    """The encoder of BERT4Rec (Sun et al., 2019), over packed or padded rows.

    Its objective is "masked": it is trained on a share `mask_prob` of each history's items (at
    least one), masked in the input, in place of the next items, and guesses them from what stands
    on both sides. It is evaluated on a masked place behind the history. Every loss takes its
    states; the paper's is cross-entropy over all items ("Turning dross into gold loss", section 3).
    `train_on` "last" masks the last item alone. `mask_last_prob` is how often a history is masked
    so in an epoch, in place of a share of its items, since that is what evaluation needs. The
    original adds such a sample to ten others of each history, which is 1 / 11.

    As in the paper: post-norm blocks with GELU, an inner width of four times `hidden_dim`
    (`inner_dim` = 0), and a layer with GELU and norm before the scores (its Eq. 7); its bias for
    each item is left out, since scoring belongs to the loss.
    """

    objective: ClassVar[Objective] = "masked"

    def __init__(
        self,
        *,
        num_items: int,
        max_len: int,
        generator: Generator | None,
        hidden_dim: HiddenDim = 64,
        num_blocks: NumBlocks = 2,
        num_heads: NumHeads = 2,
        inner_dim: InnerDim = 0,
        dropout: Dropout = 0.2,
        mask_prob: Annotated[
            float,
            Field(gt=0, le=1, description="share of the positions that are masked and predicted"),
        ] = 0.2,
        mask_last_prob: Annotated[
            float,
            Field(ge=0, le=1, description="how often the last item of a history is masked alone"),
        ] = 0.0,
        activation: Activation = "gelu",
        init_std: InitStd = 0.02,
    ) -> None:
        super().__init__()
        check_transformer(
            hidden_dim=hidden_dim,
            num_blocks=num_blocks,
            num_heads=num_heads,
            inner_dim=inner_dim,
            dropout=dropout,
            init_std=init_std,
        )
        if not 0.0 < mask_prob <= 1.0:
            raise ValueError(f"mask_prob must lie in (0, 1], got {mask_prob}")
        if not 0.0 <= mask_last_prob <= 1.0:
            raise ValueError(f"mask_last_prob must lie in [0, 1], got {mask_last_prob}")
        self.init_std = init_std
        self.items = item_table(num_items, hidden_dim)
        self.positions = nn.Parameter(torch.empty(max_len, hidden_dim))
        self.mask = nn.Parameter(torch.empty(hidden_dim))
        inner = inner_dim or 4 * hidden_dim
        self.blocks = nn.ModuleList(
            Block(
                hidden_dim=hidden_dim,
                num_heads=num_heads,
                inner_dim=inner,
                dropout=dropout,
                norm_first=False,
                activation=activation,
            )
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.head = nn.Linear(hidden_dim, hidden_dim)
        self.head_norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw all weights anew, in place: matrices normal, biases 0, norms 1."""
        self.items.reset(self.init_std, generator)
        self.positions.normal_(0.0, self.init_std, generator=generator)
        self.mask.normal_(0.0, self.init_std, generator=generator)
        reset_layers(self, self.init_std, generator)

    @property
    def item_table_VD(self) -> Tensor:
        """The item table, (V, D), tied: the encoder looks items up in it too."""
        return self.items.rows_VD

    def forward(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D)."""
        ids_BL = inputs.item_ids_BL
        x_BLD = self.items(ids_BL.clamp(min=0))
        x_BLD = torch.where((ids_BL < 0).unsqueeze(-1), self.mask.to(x_BLD.dtype), x_BLD)
        return self.encode(x_BLD, inputs.positions_BL, inputs.segments_BL)

    def encode(self, x_BLD: Tensor, positions_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """Embeddings to hidden states; apart from the lookup, so that it can be compiled."""
        is_item_BL1 = (segments_BL > 0).unsqueeze(-1)
        x_BLD = x_BLD + rows_at(self.positions, positions_BL) * is_item_BL1
        x_BLD = self.dropout(self.norm(x_BLD))
        mask_B1LL = segment_mask(segments_BL, causal=False)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_B1LL)
        return self.head_norm(nn.functional.gelu(self.head(x_BLD)))
