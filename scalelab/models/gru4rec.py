"""Encode histories by gated recurrent units (GRU4Rec, Hidasi et al., 2016)."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput
from scalelab.models._options import Dropout, HiddenDim, InitStd
from scalelab.models.tables import item_table

__all__ = ["GRU4Rec"]


class GRU4Rec(nn.Module):
    """The encoder of GRU4Rec over packed or padded rows, with one table for lookup and scores.

    That is its "constrained embedding" (Hidasi & Karatzoglou, 2018): what goes in is looked up in
    the table that scores. Layers of GRU follow, with dropout on the embeddings and between the
    layers; a state is normalised by nothing. Every sequence starts from a state of zeros, so whole
    histories take the place of the paper's session-parallel batches.

    Rows are unpacked to one a sequence before the recurrence, since that has no mask, and packed
    again after it: S x L places, of which those beyond a sequence's end are computed and not used.
    """

    def __init__(
        self,
        *,
        num_items: int,
        max_len: int,
        generator: Generator | None,
        hidden_dim: HiddenDim = 64,
        num_blocks: Annotated[int, Field(ge=1, description="layers of the GRU")] = 1,
        dropout: Dropout = 0.2,
        init_std: InitStd = 0.02,
    ) -> None:
        super().__init__()
        if hidden_dim < 1 or num_blocks < 1 or init_std <= 0:
            raise ValueError("hidden_dim and num_blocks must be at least 1, init_std above 0")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.max_len = max_len
        self.init_std = init_std
        self.items = item_table(num_items, hidden_dim)
        between = dropout if num_blocks > 1 else 0.0
        self.recurrence = nn.GRU(
            hidden_dim, hidden_dim, num_layers=num_blocks, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw all weights anew, in place: table normal, recurrence uniform as torch does."""
        self.items.reset(self.init_std, generator)
        bound = 1 / math.sqrt(self.recurrence.hidden_size)
        for parameter in self.recurrence.parameters():
            parameter.uniform_(-bound, bound, generator=generator)

    @property
    def item_table_VD(self) -> Tensor:
        """The item table, (V, D), tied: the encoder looks items up in it too."""
        return self.items.rows_VD

    def forward(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D)."""
        x_BLD = self.items(inputs.item_ids_BL)
        return self.encode(x_BLD, inputs.positions_BL, inputs.segments_BL, inputs.num_sequences)

    def encode(
        self, x_BLD: Tensor, positions_BL: Tensor, segments_BL: Tensor, num_sequences: int
    ) -> Tensor:
        """Embeddings to hidden states; apart from the lookup, so that it can be compiled."""
        x_ND = self.dropout(x_BLD).view(-1, x_BLD.shape[2])
        # Row 0 of the unpacked places takes the padding (segment 0) and is then left off.
        place_N = (segments_BL.long() * self.max_len + positions_BL).view(-1)
        source = place_N.new_zeros((num_sequences + 1) * self.max_len)
        source.scatter_(0, place_N, torch.arange(place_N.shape[0], device=source.device))
        x_SLD = x_ND.index_select(0, source[self.max_len :]).view(num_sequences, self.max_len, -1)
        states_SLD = self.recurrence(x_SLD)[0]
        # Padding reads the first state of all: unspecified, finite, and used by nobody.
        place_N = (place_N - self.max_len).clamp_(min=0)
        return states_SLD.reshape(-1, x_ND.shape[1]).index_select(0, place_N).view_as(x_BLD)
