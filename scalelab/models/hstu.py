"""Encode histories by pointwise attention with gates (HSTU, Zhai et al., 2024)."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput
from scalelab.models._blocks import segment_mask
from scalelab.models._lookup import rows_at
from scalelab.models._options import Dropout, HiddenDim, InitStd, NumBlocks, NumHeads
from scalelab.models.tables import item_table

__all__ = ["HSTU"]


class _Block(nn.Module):
    """One layer: projections, attention by SiLU in place of softmax, a gate, and a residual.

    Scores are shifted by a bias that depends on the distance of two positions and divided by
    `max_len`, as the paper's code does, so that the sum keeps the strength of what was seen often.
    """

    def __init__(self, *, hidden_dim: int, num_heads: int, max_len: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.max_len = max_len
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.attended_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.project = nn.Linear(hidden_dim, 4 * hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.distance_bias = nn.Parameter(torch.empty(max_len))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B1LL: Tensor, distance: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D); `distance` (L * L,) is of query and key, 0 where negative."""
        B, L, D = x_BLD.shape
        projected = F.silu(self.project(self.norm(x_BLD)))
        gate_BLD, value, query, key = projected.chunk(4, dim=2)
        value, query, key = (
            part.view(B, L, self.num_heads, D // self.num_heads).transpose(1, 2)
            for part in (value, query, key)
        )
        scores_BHLL = query @ key.transpose(2, 3)
        scores_BHLL = scores_BHLL + rows_at(self.distance_bias[:, None], distance).view(L, L)
        share_BHLL = (F.silu(scores_BHLL) / self.max_len).masked_fill(~mask_B1LL, 0.0)
        attended_BLD = (share_BHLL @ value).transpose(1, 2).reshape(B, L, D)
        gated_BLD = gate_BLD * self.attended_norm(attended_BLD)
        return x_BLD + self.out(self.dropout(gated_BLD))


class HSTU(nn.Module):
    """The encoder of HSTU over packed or padded rows, with one table for lookup and scores.

    The bias of the paper's attention depends on distances in place and in time. Batches carry no
    times, so the bias in place is all there is here, one number per layer and distance, shared by
    the heads. Embeddings are multiplied by sqrt(D) and a position embedding is added, as in
    the paper's code; a layer norm ends the encoder, since the losses take inner products.
    """

    def __init__(
        self,
        *,
        num_items: int,
        max_len: int,
        generator: Generator | None,
        hidden_dim: HiddenDim = 64,
        num_blocks: NumBlocks = 2,
        num_heads: NumHeads = 1,
        dropout: Dropout = 0.2,
        init_std: InitStd = 0.02,
    ) -> None:
        super().__init__()
        if hidden_dim < 1 or num_heads < 1 or hidden_dim % num_heads:
            raise ValueError(
                f"hidden_dim = {hidden_dim} must be a multiple of num_heads = {num_heads}"
            )
        if num_blocks < 0 or init_std <= 0:
            raise ValueError("num_blocks must be 0 or more, init_std above 0")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.init_std = init_std
        self.items = item_table(num_items, hidden_dim)
        self.positions = nn.Parameter(torch.empty(max_len, hidden_dim))
        self.blocks = nn.ModuleList(
            _Block(hidden_dim=hidden_dim, num_heads=num_heads, max_len=max_len, dropout=dropout)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw all weights anew, in place: matrices and biases of distances normal, norms 1."""
        self.items.reset(self.init_std, generator)
        self.positions.normal_(0.0, self.init_std, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, _Block):
                module.distance_bias.normal_(0.0, self.init_std, generator=generator)

    @property
    def item_table_VD(self) -> Tensor:
        """The item table, (V, D), tied: the encoder looks items up in it too."""
        return self.items.rows_VD

    def forward(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D)."""
        return self.encode(self.items(inputs.item_ids_BL), inputs.positions_BL, inputs.segments_BL)

    def encode(self, x_BLD: Tensor, positions_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """Embeddings to hidden states; apart from the lookup, so that it can be compiled."""
        length, depth = x_BLD.shape[1:]
        is_item_BL1 = (segments_BL > 0).unsqueeze(-1)
        position_BLD = rows_at(self.positions, positions_BL) * is_item_BL1
        x_BLD = self.dropout(x_BLD * math.sqrt(depth) + position_BLD)
        mask_B1LL = segment_mask(segments_BL)
        # A sequence lies in one piece, so two of its positions are as far apart as their columns.
        column_L = torch.arange(length, device=x_BLD.device)
        distance = (column_L[:, None] - column_L).clamp_(min=0).view(-1)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_B1LL, distance)
        return self.norm(x_BLD)
