"""Update the item table, from its whole gradient or from one that is made tile by tile.

A streamed update meets each row once: its gradient is formed, its weights and its state are
updated, the gradient is forgotten. Rows whose gradient is 0 are not visited where the rule leaves
them as they are and the loss does not reach all rows (see `Rule.moves_untouched`).

A table in bf16 has no copy in float32: rows are updated in float32 and rounded up or down by
chance, so that what is less than half a step of bf16 is not lost on average.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import SpecError
from scalelab.losses import target_of, tile_repeats
from scalelab.losses.streaming.table_gradient import RowGradient, TableGradient
from scalelab.losses.streaming.tiles import accumulate_dtype_of, tile_numbers, tile_ranges
from scalelab.losses.streaming.touched_rows import TouchedByTile, TouchedRows
from scalelab.models.tables import ComposedRows
from scalelab.train.optimizers.rounding import StochasticRounding
from scalelab.train.optimizers.rules import RULES, Rates

__all__ = ["TableOptimizer", "TakeLookups"]

# Numbers of a tile: 1 MiB of float32, which stays in a CPU's caches with its gradient and state.
_TILE_NUMBERS = 2**18
# What one of them takes on a GPU: gradient, a copy of the row in float32, random bits, temporaries.
_NUMBER_BYTES = 24
# On a GPU, whole tiles of the fused kernel, and addresses that its wide loads can take.
_KERNEL_ROWS = 128
Rows = Tensor | ComposedRows
TakeLookups = Callable[[], list[tuple[Tensor, Tensor]]]


class TableOptimizer(Optimizer):
    """The optimizer of one table. `take_lookups` gives what the encoder's lookups sent to its rows.

    In a streamed update `collect` gets what each batch's loss knows, and `step` uses it all.
    """

    def __init__(
        self,
        table_VD: nn.Parameter,
        *,
        rule: str,
        learning_rate: float,
        weight_decay: float,
        clip_value: float,
        streamed: bool,
        take_lookups: TakeLookups = list,
        seed: int = 0,
    ) -> None:
        super().__init__([table_VD], {"lr": learning_rate})
        self.table_VD, self.streamed = table_VD, streamed
        self._rounding = StochasticRounding(seed)
        self._rule, self._weight_decay, self._clip_value = RULES[rule](), weight_decay, clip_value
        self._take_lookups = take_lookups
        self._collected: list[TableGradient] = []
        self._number: int | None = 0

    def collect(self, gradient: TableGradient) -> None:
        """Keep what a batch's loss knows of the table's gradient, until `step`."""
        self._collected.append(gradient)

    def forget(self) -> None:
        """Drop state and gradients: the next update is the first."""
        self.state.clear()
        self.zero_grad(set_to_none=True)
        self._collected.clear()
        self._take_lookups()
        self._number = 0

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take state in; how many updates there were is a part of it."""
        # Torch's own way would turn the state into the type of the table.
        super().load_state_dict({**state_dict, "state": {}})
        for values in state_dict["state"].values():
            device = self.table_VD.device
            self.state[self.table_VD] = {name: each.to(device) for name, each in values.items()}
        self._number = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update the table. Raises SpecError where a streamed one got a whole gradient."""
        if not self.streamed:
            if self.table_VD.grad is not None:
                self._walk(self._rates(), [], None, self.table_VD.grad)
            return
        if self.table_VD.grad is not None:
            raise SpecError(
                "the model sends the item table a gradient of its whole size, so that its update "
                "cannot be streamed",
                'write train.table.update = "dense", or get the table from item_table of '
                "scalelab.models.tables",
            )
        touches_all, touched = self._gathered(self.table_VD, self._take_lookups())
        rates = self._rates()
        if touches_all or self._rule.moves_untouched(self._weight_decay):
            self._walk(rates, touches_all, touched, None)
        elif touched is not None:
            self._visit(rates, touched)

    def _gathered(
        self, rows_VD: Rows, lookups: list[tuple[Tensor, Tensor]]
    ) -> tuple[list[TableGradient], TouchedRows | None]:
        """What was collected: the gradients that reach all rows, and those of single rows."""
        collected, self._collected = self._collected, []
        parts = [part for gradient in collected for part in gradient.single_rows()]
        parts += [RowGradient(*lookup) for lookup in lookups]
        touched = TouchedRows([part.ids_M for part in parts], rows_VD) if parts else None
        # The lookups' own list would hold what is let go below.
        lookups.clear()
        while parts:
            part = parts.pop()
            assert touched is not None
            touched.add(part.ids_M, part.rows_MD)
            del part
        return [gradient for gradient in collected if gradient.touches_all], touched

    def _rates(self) -> Rates:
        state = self._state()
        if self._number is None:
            self._number = int(state["step"])
        self._number += 1
        return Rates(
            learning_rate=self.param_groups[0]["lr"],
            weight_decay=self._weight_decay,
            number=self._number,
            number_1=state["step"].add_(1.0),
        )

    def _state(self) -> dict[str, Tensor]:
        state = self.state[self.table_VD]
        if not state:
            table_VD, rule = self.table_VD, self._rule
            # Made once a run: a prediction counts it 0 times in a step.
            counted = tile_repeats.set(0)
            # Torch's own counters are float32 too, and on the device where the kernel is fused.
            state["step"] = torch.zeros((), dtype=torch.float32, device=table_VD.device)
            like = {"dtype": accumulate_dtype_of(table_VD), "device": table_VD.device}
            state |= {name: torch.zeros(table_VD.shape, **like) for name in rule.full}
            state |= {name: torch.zeros(table_VD.shape[0], **like) for name in rule.by_row}
            tile_repeats.reset(counted)
        return state

    def _row_state(self) -> dict[str, Tensor]:
        return {name: self._state()[name] for name in (*self._rule.full, *self._rule.by_row)}

    def _tile_rows(self, num_rows: int, depth: int) -> int:
        numbers = tile_numbers(self.table_VD, _TILE_NUMBERS, _NUMBER_BYTES)
        rows = numbers // depth
        if rows > _KERNEL_ROWS and target_of(self.table_VD).kind != "cpu":
            rows -= rows % _KERNEL_ROWS
        return max(1, min(num_rows, rows))

    def _walk(
        self,
        rates: Rates,
        gradients: list[TableGradient],
        touched: TouchedRows | None,
        whole_VD: Tensor | None,
    ) -> None:
        """Update all rows, one tile after the other."""
        num_rows, width = self.table_VD.shape[0], self._tile_rows(*self.table_VD.shape)
        tiles = None if touched is None else TouchedByTile(touched, width)
        state = self._row_state()
        for first, last in tile_ranges(num_rows, width, self.table_VD):
            own_WD = self.table_VD[first:last]
            rows_WD = own_WD.to(accumulate_dtype_of(self.table_VD))
            grad_WD = torch.zeros_like(rows_WD) if whole_VD is None else whole_VD[first:last]
            for gradient in gradients:
                gradient.add_tile(grad_WD, first, last)
            if tiles is not None:
                tiles.add(grad_WD, first)
            self._update(rows_WD, grad_WD, {k: v[first:last] for k, v in state.items()}, rates)
            self._rounding.write(own_WD, rows_WD, rates.number, first)

    def _visit(self, rates: Rates, touched: TouchedRows) -> None:
        """Update the touched rows alone. Empty places stand for the padding row.

        That row has no gradient, so that nothing happens to it, however often it is visited.
        """
        ids_C, state = touched.ids_C % touched.num_rows, self._row_state()
        width = self._tile_rows(*self.table_VD.shape)
        for start, stop in tile_ranges(ids_C.shape[0], width, self.table_VD):
            ids_W = ids_C[start:stop]
            rows_WD = self.table_VD.index_select(0, ids_W).to(accumulate_dtype_of(self.table_VD))
            of_rows = {name: value.index_select(0, ids_W) for name, value in state.items()}
            self._update(rows_WD, touched.grad_CD[start:stop], of_rows, rates)
            rows_WD = self._rounding.rounded(rows_WD, self.table_VD.dtype, rates.number, start)
            self.table_VD.index_copy_(0, ids_W, rows_WD)
            for name, value in of_rows.items():
                state[name].index_copy_(0, ids_W, value)
            del rows_WD, of_rows

    def _update(
        self, rows_WD: Tensor, grad_WD: Tensor, state: dict[str, Tensor], rates: Rates
    ) -> None:
        if self._clip_value:
            grad_WD.clamp_(-self._clip_value, self._clip_value)
        self._rule.update(rows_WD, grad_WD, state, rates)
