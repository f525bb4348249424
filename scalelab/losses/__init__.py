"""Turn hidden states and the item table into a scalar: one loss per file.

A loss of the tree is the one class of `scalelab/losses/NAME.py` and is called NAME. A loss of your
own is named `./file.py:Class` or `package.module:Class`, or by an entry point of your package in
the group `scalelab.losses`. All of them keep this contract:

- It is a frozen dataclass; its fields are its options, all with a default. A `ValueError` from the
  constructor says that an option is wrong; it becomes one line for the user.
- `needs_negatives` is True or False, on the class. True: `batch.negatives` holds the sources that
  the run names. False: it is empty, and the run's negatives do not count.
- `loss(hidden_ND, item_table_VD, batch) -> scalar` returns the mean over the N positions. It sees
  positions with a target only, and owns the projection onto the item table. `train_on = "last"` is
  done before: then N holds the last position of each sequence. `batch` is a `LossBatch`; row
  `batch.pad_id` of the table is padding: never a target or a negative, no part of a softmax, and
  without a gradient.
- It is the same at every call with the same arguments: what it draws, it draws from
  `batch.generator`. It reads no value back from the device, so that it also runs on fake tensors,
  which is how its memory is predicted.
- `scores(hidden_SD, items_WD) -> scores_SW`, optional, is how the loss ranks: the larger, the
  better. Evaluation calls it for blocks of users and blocks of items, so a score may depend on
  nothing but its own hidden state and its own row. A loss without it ranks by the inner product.
  A loss of cosines needs it; a temperature alone does not, since it changes no rank.
- `streamed(hidden_ND, item_table_VD, batch) -> (scalar, TableGradient)`, optional, is the same loss
  for `train.table.update = "streamed"`: its backward pass reaches the hidden states alone, and the
  table's gradient is made later, some rows at a time (`scalelab.losses.streaming`).
- `needs_popularity`, optional, True on the class: `batch.log_popularity_V` is there.

`scalelab.testing.LossContract` tests all of this.

Shape legend: N valid positions, S sequences (in `scores`: users), K negatives, D hidden width,
V = num_items + 1 rows of the item table, W some of its rows.
"""

import importlib.util
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from scalelab.core.target import Target, predicted_target

__all__ = [
    "Loss",
    "LossBatch",
    "Negatives",
    "Scores",
    "Target",
    "before_tile",
    "cuda_target",
    "loss_bytes",
    "needs_popularity",
    "options_used",
    "own_scores",
    "predicted_target",
    "target_of",
    "tf32_allowed",
    "tile_repeats",
]

# On fake tensors a loss runs one tile for many: how many the one at hand stands for. Bytes need not
# know (tiles leave nothing behind), a count of operations multiplies by it.
tile_repeats: ContextVar[int] = ContextVar("tile_repeats", default=1)
# Called before each tile, for who looks at a long step in pieces.
before_tile: ContextVar[Callable[[], None] | None] = ContextVar("before_tile", default=None)


def target_of(tensor: Tensor) -> Target:
    """The device that `tensor` is on; for a prediction the device that is predicted."""
    predicted = predicted_target.get()
    if predicted is not None:
        return predicted
    if tensor.device.type != "cuda":
        return Target("cpu")
    index = tensor.device.index
    return cuda_target(torch.cuda.current_device() if index is None else index)


def tf32_allowed() -> bool:
    """Whether fp32 products may be rounded to TF32 on CUDA: torch's own flag, set by the run."""
    return bool(torch.backends.cuda.matmul.allow_tf32)


@cache
def cuda_target(index: int) -> Target:
    """The GPU of this machine with that index."""
    properties = torch.cuda.get_device_properties(index)
    capability = (properties.major, properties.minor)
    triton = importlib.util.find_spec("triton") is not None
    multiprocessors = properties.multi_processor_count
    return Target(
        kind="cuda",
        memory_bytes=properties.total_memory,
        capability=capability,
        triton=triton,
        multiprocessors=multiprocessors,
    )


class Negatives(NamedTuple):
    """One source of negatives, per "position", "sequence" or "batch".

    `ids` is (N, K), (S, K) or (K,) accordingly, int32 or int64. Items were drawn with
    probability proportional to popularity to the power `exponent` (0: uniform), which is what a
    logQ correction needs. None: with those whose logarithms `log_share_V` holds. Id `pad_id` marks
    an empty place.
    """

    per: str
    ids: Tensor
    exponent: float | None = 0.0
    log_share_V: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class LossBatch:
    """What losses ask for beside hidden states and table."""

    targets_N: Tensor
    num_items: int
    # Which sequence (0..S-1) a position belongs to; needed to look up negatives per sequence.
    sequence_N: Tensor | None = None
    negatives: tuple[Negatives, ...] = ()
    # log of each item's share of the training interactions; an item that never occurs counts once.
    # Given to a loss that says so by a true `needs_popularity`.
    log_popularity_V: Tensor | None = None
    pad_id: int = 0
    generator: Generator | None = None
    # Fixed random vectors and the like, for tests against other code.
    given: Mapping[str, Any] = field(default_factory=dict)


def options_used(loss: "Loss", hidden_ND: Tensor, item_table_VD: Tensor) -> dict[str, Any]:
    """What a loss makes of its options "auto" on such operands; empty where it has none.

    A loss says so by a method of this name. Only shapes, types and the device may count.
    """
    method = getattr(loss, "options_used", None)
    return {} if method is None else dict(method(hidden_ND, item_table_VD))


def loss_bytes(
    loss: "Loss", item_table_VD: Any, shared_negatives: int | None
) -> Callable[[int, int], int] | None:
    """By numbers of positions and of places (rows times `max_len`), about how many bytes the loss
    takes and the encoder at least; None for a loss whose bytes grow with positions.

    `shared_negatives` is how many the whole batch shares, None where any source draws for each
    position or sequence. Others have a method of this name, which may say None as well. RECE's and
    SCE's tiles hold whole chunks, whose sizes are rounded, and a fused kernel splits the table less
    for more positions: a step with fewer may need more.
    """
    method = getattr(loss, "loss_bytes", None)
    if method is None or method(1, shared_negatives, item_table_VD) is None:
        return None
    # Of any encoder there are the embeddings, the hidden states and the gradients of both.
    place = 4 * item_table_VD.dtype.itemsize * item_table_VD.shape[1]
    return lambda positions, places: (
        method(positions, shared_negatives, item_table_VD) + places * place
    )


Scores = Callable[[Tensor, Tensor], Tensor]


def own_scores(loss: "Loss") -> Scores | None:
    """How the loss ranks items, None where by the inner product of hidden state and item."""
    return getattr(loss, "scores", None)


def needs_popularity(loss: "Loss") -> bool:
    """Whether the loss reads `log_popularity_V`, four bytes an item of the device's memory."""
    return bool(getattr(loss, "needs_popularity", False))


class Loss(Protocol):
    """Any loss; the docstring of the package says what it promises."""

    needs_negatives: ClassVar[bool]

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor: ...
