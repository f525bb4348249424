"""Hold the numbers of each item: one kind of item table per file.

A table of the tree is the one class of `scalelab/models/tables/NAME.py` and is called NAME. A table
of your own is named `./file.py:Class` or `package.module:Class`, or by an entry point of your
package in the group `scalelab.tables`. The section `[table]` of a run chooses it. All of them keep
this contract:

- It is an `nn.Module`, built as `Table(num_items=..., hidden_dim=..., dtype=..., **options)`.
  Keywords with a default are its options. A `ValueError` from the constructor says that an option
  is wrong, or that it cannot hold numbers of that type; it becomes one line for the user.
- `table(ids_BL)` returns the rows of items, (B, L, D), in float32 at least. Row 0 is padding: it is
  zero and never gets a gradient.
- `rows_VD` is what losses score with and evaluation ranks with: a parameter of the table's size, or
  `ComposedRows`, which are made when a loss needs them. A class says the latter by a true
  `makes_rows`; it needs `train.table.update = "streamed"` and so a loss with a method `streamed`,
  which reads slices of rows and rows by their ids, and nothing else.
- `reset(std, generator)` draws all numbers anew, in place, those of `__init__` again for the same
  generator: rows with the deviation `std`.
- `keep_lookups()` and `take_lookups()`, of a table whose rows are a parameter: see `Full`.

`scalelab.testing.TableContract` tests all of this. A model gets its table from `item_table`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scalelab.core import plugins
from scalelab.models.tables._composed import ComposedRows

__all__ = ["ComposedRows", "MadeTable", "item_table", "making", "tensors_of"]

# (num_items, hidden_dim) -> the table.
_Make = Callable[[int, int], Any]


@dataclass
class MadeTable:
    """Whether a model has made its table."""

    make: _Make
    is_made: bool = False


_making: ContextVar[MadeTable | None] = ContextVar("making", default=None)


def item_table(num_items: int, hidden_dim: int) -> Any:
    """The table of the run that a model is built for; else a `Full` one in float32."""
    made = _making.get()
    if made is None:
        full = plugins.load("tables", "full")
        return full(num_items=num_items, hidden_dim=hidden_dim, dtype=torch.float32)
    made.is_made = True
    return made.make(num_items, hidden_dim)


@contextmanager
def making(make: _Make) -> Iterator[MadeTable]:
    """Inside, `item_table` makes tables by `make`."""
    made = MadeTable(make)
    token = _making.set(made)
    try:
        yield made
    finally:
        _making.reset(token)


def tensors_of(rows_VD: Any) -> tuple[Tensor, ...]:
    """What holds the memory of an item table, given by its `rows_VD`."""
    if isinstance(rows_VD, ComposedRows):
        return rows_VD.codes_VM, rows_VD.codewords_CP
    return (rows_VD,)
