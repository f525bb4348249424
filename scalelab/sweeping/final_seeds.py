"""Choose the cells that deserve more seeds by what the grid has found."""

from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.study import FinalSpec, StudySpec
from scalelab.store.ledger import Ledger
from scalelab.store.schema import valid_columns
from scalelab.studies.grid import Cell, first_cell, repeat_of

__all__ = ["best_cells", "check_final"]


def check_final(study: StudySpec, overrides: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """Raises SpecError where the best of `cells` could not be chosen, before anything has run.

    A search knows no cells beforehand; its first one stands for all.
    """
    final = study.final
    if final is None:
        return
    if not final.by.startswith("valid_"):
        hint = 'choose on validation, for example by = "valid_ndcg_10"'
        raise SpecError(f"[final] by = {final.by!r} would choose on something else", hint)
    if final.by not in valid_columns():
        hint = f"there are: {', '.join(valid_columns())}"
        raise SpecError(f"[final] by = {final.by!r} is no column of results", hint)
    for cell in cells or first_cell(study, overrides):
        value_at(cell, final.per)


def best_cells(final: FinalSpec, fingerprints: Mapping[str, Cell], ledger: Ledger) -> list[Cell]:
    """For each value of `final.per`, the cell with the best mean `final.by`, with all its seeds.

    `fingerprints` are the cells of the grid. Raises SpecError for a cell without a field `per`.
    """
    column = final.by
    rows = ledger.query(
        f'SELECT fingerprint, avg("{column}") AS value FROM results '
        f'WHERE "{column}" IS NOT NULL GROUP BY fingerprint'
    ).to_pylist()
    found: dict[str, list[float]] = {}
    first: dict[str, Cell] = {}
    for row in rows:
        cell = fingerprints.get(row["fingerprint"])
        if cell is not None:
            found.setdefault(cell.configuration, []).append(row["value"])
    for cell in fingerprints.values():
        if cell.configuration in found and cell.repeat == 0:
            first.setdefault(cell.configuration, cell)
    best: dict[str, tuple[float, Cell]] = {}
    for configuration, cell in first.items():
        values = found[configuration]
        mean = sum(values) / len(values)
        group = repr(value_at(cell, final.per))
        if group not in best or mean > best[group][0]:
            best[group] = mean, cell
    return [repeat_of(cell, repeat) for repeat in range(final.seeds) for _, cell in best.values()]


def value_at(cell: Cell, key: str) -> object:
    """What a cell's spec holds under a dotted key such as `loss.name`. Raises SpecError."""
    place: Any = cell.spec.as_tables()
    for word in key.split("."):
        if isinstance(place, list) and word.isdigit() and int(word) < len(place):
            place = place[int(word)]
        elif isinstance(place, dict) and word in place:
            place = place[word]
        else:
            raise SpecError(
                f"[final] per = {key!r} is no field of the run", "write for example loss.name"
            )
    return place
