"""Write the memory of a training step as tables of text or HTML."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalelab.any_model.module_account import KINDS
from scalelab.core.units import format_bytes

if TYPE_CHECKING:
    from scalelab.any_model.memory import StepMemory

__all__ = ["as_html", "as_text", "tables"]

# Modules are shown as deep as this many rows allow.
_MOST_ROWS = 16
_PHASES = ("outside", "forward", "loss", "backward", "optimizer")
Table = tuple[Sequence[str], list[Sequence[str]]]


def as_text(memory: "StepMemory") -> str:
    """Title, bytes by kind and phase, bytes by module, notes."""
    parts = [_title(memory), *map(_lines, tables(memory)), *_notes(memory)]
    return "\n\n".join(parts)


def as_html(memory: "StepMemory") -> str:
    """The same for a notebook."""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in _notes(memory))
    shown = "".join(map(_rows_of_html, tables(memory)))
    return f"<div><p><b>{html.escape(_title(memory))}</b></p>{shown}{notes}</div>"


def tables(memory: "StepMemory") -> tuple[Table, Table]:
    """Columns and rows, as text: by kind (at the peak and in each phase), and by module."""
    return _by_kind(memory), _by_module(memory)


def _title(memory: "StepMemory") -> str:
    return (
        f"Peak of the step on {memory.device}: {format_bytes(memory.peak_bytes)} of live tensors, "
        f"in {_phase_name(memory.peak_phase)}"
    )


def _phase_name(phase: str) -> str:
    return "no phase" if phase == "outside" else phase


def _notes(memory: "StepMemory") -> list[str]:
    notes = []
    if memory.allocated_bytes is not None and memory.reserved_bytes is not None:
        allocated, reserved = map(format_bytes, (memory.allocated_bytes, memory.reserved_bytes))
        notes.append(
            f"CUDA's caching allocator: {allocated} allocated, {reserved} reserved (the workspaces "
            "of cuBLAS, which are no live tensors, included)"
        )
    return notes + [f"Not exact: {reason}" for reason in memory.reasons]


def _by_kind(memory: "StepMemory") -> Table:
    phases = [phase for phase in _PHASES if phase in memory.phases and phase != "outside"]
    kinds = [
        kind
        for kind in KINDS
        if kind in memory.components or any(kind in memory.phases[phase] for phase in phases)
    ]
    rows: list[Sequence[str]] = [
        (
            kind.replace("_", " "),
            _size(memory.components.get(kind)),
            *(_size(memory.phases[phase].get(kind)) for phase in phases),
        )
        for kind in kinds
    ]
    totals = [_size(memory.phases[phase]["total"]) for phase in phases]
    rows.append(("total", _size(memory.peak_bytes), *totals))
    return ("bytes of", "at the peak", *(f"peak of {phase}" for phase in phases)), rows


def _by_module(memory: "StepMemory") -> Table:
    deepest = max((len(path.split(".")) for path in memory.modules if path), default=1)
    depth = next(
        (deep for deep in range(deepest, 1, -1) if len(memory.by_module(deep)) <= _MOST_ROWS), 1
    )
    found = memory.by_module(depth)
    kinds = [kind for kind in KINDS if any(kind in sums for sums in found.values())]
    by_size = sorted(found.items(), key=lambda each: -sum(each[1].values()))
    rows: list[Sequence[str]] = [
        (path or "(top level)", *(_size(sums.get(kind)) for kind in kinds))
        for path, sums in by_size[:_MOST_ROWS]
    ]
    rest = [sums for _, sums in by_size[_MOST_ROWS:]]
    if rest:
        sums = [sum(each.get(kind, 0) for each in rest) for kind in kinds]
        rows.append((f"({len(rest)} more)", *(_size(total or None) for total in sums)))
    return ("module, at the peak", *(kind.replace("_", " ") for kind in kinds)), rows


def _size(num_bytes: int | None) -> str:
    return "" if num_bytes is None else format_bytes(num_bytes)


def _lines(table: Table) -> str:
    columns, rows = table
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = []
    for row in (columns, *rows):
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _rows_of_html(table: Table) -> str:
    columns, rows = table

    def cells(tag: str, row: Sequence[str]) -> str:
        sides = ("left", *("right" for _ in row[1:]))
        return "".join(
            f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
            for side, cell in zip(sides, row, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', columns)}</tr></thead><tbody>{body}</tbody></table>"
