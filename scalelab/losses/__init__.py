"""Define what a loss is: it turns hidden states and the item table into a scalar.

The name of its file is the name of a loss. It is a frozen dataclass whose fields are its options,
called as `loss(hidden_ND, item_table_VD, batch) -> scalar`. It sees valid positions only, owns the
projection onto the item table, and returns the mean over the N positions. `train_on = "last"` is
done before the loss: then N holds the last position of each sequence.

Shape legend: N valid positions, S sequences, K negatives, D hidden width, V = num_items + 1 rows of
the item table (row `pad_id` = 0 is padding: never a target or a negative, no part of a softmax).
"""

import importlib.util
from collections.abc import Mapping
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
    "Target",
    "cuda_target",
    "needs_popularity",
    "options_used",
    "predicted_target",
    "target_of",
    "tf32_allowed",
    "tile_repeats",
]

# On fake tensors a loss runs one tile for many: how many the one at hand stands for. Bytes need not
# know (tiles leave nothing behind), a count of operations multiplies by it.
tile_repeats: ContextVar[int] = ContextVar("tile_repeats", default=1)


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
    return Target("cuda", properties.total_memory, capability, triton, multiprocessors)


class Negatives(NamedTuple):
    """One source of negatives, per "position", "sequence" or "batch".

    `ids` is (N, K), (S, K) or (K,) accordingly, int32 or int64. Items were drawn with
    probability proportional to popularity to the power `exponent` (0: uniform), which is what a
    logQ correction needs. Id `pad_id` marks an empty place.
    """

    per: str
    ids: Tensor
    exponent: float = 0.0


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


def needs_popularity(loss: "Loss") -> bool:
    """Whether the loss reads `log_popularity_V`, four bytes an item of the device's memory."""
    return bool(getattr(loss, "needs_popularity", False))


class Loss(Protocol):
    """Any loss of this package."""

    needs_negatives: ClassVar[bool]

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor: ...
