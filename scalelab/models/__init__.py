"""Define what an encoder is: it turns item ids into hidden states.

The name of its file is the name of a model. It is an `nn.Module` built as
 `Model(num_items=..., max_len=..., generator=..., **options)`;
keywords with a default are its options. It stops at hidden states: scoring items belongs to the
loss.

Shape legend: B rows, L positions a row, D hidden width, V = num_items + 1 rows of the item table
(row 0 is padding, all zeros, and never changes). A row may hold several sequences: `segments_BL` is
0 on padding and else 1 + the index (0..S-1, over the whole step) of the sequence; `positions_BL`
counts from 0 within each sequence. Nothing may cross a segment, and padding contributes nothing.

A model with an option `mask_prob` guesses masked items instead of the next ones: some items of its
input are masked (a negative id), and those are its targets.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["EncoderInput", "SequenceEncoder"]


class EncoderInput(NamedTuple):
    """Rows of item ids with their segments; `num_sequences` (S) is known without the data."""

    item_ids_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    num_sequences: int


class SequenceEncoder(Protocol):
    """Any model of this package."""

    @property
    def item_table_VD(self) -> Tensor:
        """The output embeddings, one row per item and the padding row."""
        ...

    def __call__(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D); those on padding are unspecified but finite."""
        ...
