"""Turn item ids into hidden states: one model (encoder) per file.

A model of the tree is the one class of `scalelab/models/NAME.py` and is called NAME. A model of
your own is named `./file.py:Class` or `package.module:Class`, or by an entry point of your package
in the group `scalelab.models`. All of them keep this contract:

- It is an `nn.Module`, built as `Model(num_items=..., max_len=..., generator=..., **options)`.
  Keywords with a default are its options. A `ValueError` from the constructor says that an option
  is wrong; it becomes one line for the user.
- It draws its first weights from `generator` (None: from torch's own, which is all that fake
  tensors can use). `reset_parameters(generator)` draws the same ones again, in place: measuring
  moves the weights, and training starts afresh.
- `item_table_VD` is the table that the loss scores with: one row per item, and row 0 for padding,
  which is zero and never gets a gradient. It may be the table of the lookup (tied) or another.
- `forward(inputs: EncoderInput)` returns hidden states, (B, L, D). It stops there: scores belong to
  the loss. A row may hold several sequences: `segments_BL` is 0 on padding and else 1 + the index
  (0..S-1, over the whole step) of the sequence; `positions_BL` counts from 0 within each sequence.
  Nothing may cross a segment, packed and padded rows give the same states, and padding contributes
  nothing; states on padding are finite and otherwise free.
- A model gets its table from `item_table(num_items, hidden_dim)` of `scalelab.models.tables`, looks
  items up by calling it, and has `item_table_VD` return its `rows_VD`. One that makes its table
  itself cannot be trained with another kind of table or type (`[table]`, `model.table_dtype`), and
  not with `train.table.update = "streamed"` where its lookup has a gradient of the table's size.
- A model may have a table of users as well, see `scalelab.models.users`.
- `objective` is "next" where the model predicts the item after each position, which is the default:
  a state may then not depend on later items. It is "masked" where the model predicts items that are
  masked in its input; a masked item has a negative id. Such a model has an option `mask_prob`, the
  share of items that are masked, and its states may depend on both sides.
- `pretrains`, optional, is true where the model is trained on objectives of its own first. Such a
  model has the options `pretrain_epochs`, `mask_prob` and `attributes` (a file of item attributes,
  "" for none), and may have `pretrain_samples` ("prefixes": every prefix is a sample) and
  `pretrain_batch_size`. `take_attributes(num_attributes, most, generator)` makes what it needs for
  them, once and before it is used; `attribute_table_AD` is the table of their vectors, or None, and
  `item_attributes_VM` a buffer that the trainer fills. A step calls
  `pretraining_states(inputs: PretrainingInput)` and then `objectives(states, inputs)`, which gives
  scalars by name; `objective_weights` has the weight of each. Their weighted sum must send the item
  table a dense gradient.
- `encode(...)`, optional, is the part of `forward` after the lookup, on tensors alone.
  `train.compile = true` compiles it and is refused without it.

`scalelab.testing.ModelContract` tests all of this.

Shape legend: B rows, L positions per row, D hidden width, V = num_items + 1 rows of the item table,
S sequences, N places with an item, A attributes, M attributes that one item has at most.
"""

from typing import Any, Literal, NamedTuple, Protocol

from torch import Generator, Tensor

__all__ = [
    "EncoderInput",
    "Objective",
    "PretrainingInput",
    "SequenceEncoder",
    "is_pretrained",
    "objective_of",
]

Objective = Literal["next", "masked"]


class EncoderInput(NamedTuple):
    """Rows of item ids with their segments; `num_sequences` (S) is known without the data.

    `user_rows_S` are rows of the table of users, where the model has one.
    """

    item_ids_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    num_sequences: int
    user_rows_S: Tensor | None = None


class PretrainingInput(NamedTuple):
    """What a model sees of a step of pre-training; see `scalelab.batches.pretraining`.

    Four rows of item ids, negative where something is hidden: single items, a segment, all but the
    segment, and the same with a segment from elsewhere. `places_N` are the flat places of all
    items, `items_N` what they really are, `negatives_N` items that their users do not have.
    """

    masked_BL: Tensor
    context_BL: Tensor
    segment_BL: Tensor
    other_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    num_sequences: int
    places_N: Tensor
    items_N: Tensor
    negatives_N: Tensor
    is_masked_N: Tensor
    last_S: Tensor


class SequenceEncoder(Protocol):
    """Any model; the docstring of the package says what it promises."""

    @property
    def item_table_VD(self) -> Tensor:
        """The output embeddings, one row per item and the padding row."""
        ...

    def __call__(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D); those on padding are unspecified but finite."""
        ...

    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw the first weights again, in place."""
        ...


def objective_of(model: type[Any]) -> Objective:
    """What the model predicts at its targets; "next" where it does not say."""
    return getattr(model, "objective", "next")


def is_pretrained(model: type[Any]) -> bool:
    """Whether the model may be trained on objectives of its own first."""
    return bool(getattr(model, "pretrains", False))
