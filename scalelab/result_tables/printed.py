"""Turn the figures of a table into texts, with one unit for each kind of figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from scalelab.core.figures import metric_name
from scalelab.core.units import GIB, KIB, MIB
from scalelab.result_tables.candidates import COSTS
from scalelab.result_tables.grouping import DATASET
from scalelab.result_tables.marks import DIGITS
from scalelab.result_tables.result_table import Entry, ResultTable

__all__ = ["Printed", "PrintedLine", "PrintedTable", "printed"]

_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "peak_bytes": ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")),
    "train_s": ((3600, "h"), (60, "min"), (1, "s"), (0.001, "ms")),
}
_NAMES = {"peak_bytes": "memory", "train_s": "training"}
_WORDS = {DATASET: "data set"}


@dataclass(frozen=True, kw_only=True)
class Printed:
    """The texts of one entry: "" where there is none. `mark` is best, second or ""; `differs`: it
    gets a dagger.
    """

    value: str
    spread: str
    mark: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class PrintedLine:
    """The texts of one row."""

    heads: tuple[str, ...]
    entries: tuple[Printed, ...]
    is_baseline: bool


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """The texts of a table. `groups` has the text over each group of `metrics`."""

    row_names: tuple[str, ...]
    groups: tuple[str, ...]
    metrics: tuple[str, ...]
    lines: tuple[PrintedLine, ...]
    notes: tuple[str, ...]

    @property
    def has_groups(self) -> bool:
        """Whether the groups have a text."""
        return any(self.groups)


def printed(table: ResultTable) -> PrintedTable:
    """All texts of a table, not yet escaped for any format."""
    scales = [_scale(table, metric, index) for index, metric in enumerate(table.metrics)]
    return PrintedTable(
        row_names=tuple(_WORDS.get(name, name) for name in table.row_names),
        groups=tuple(_group(table, texts) for texts in table.columns),
        metrics=tuple(
            f"{_NAMES[name]} ({scale[1]})" if name in COSTS else metric_name(name)
            for name, scale in zip(table.metrics, scales, strict=True)
        ),
        lines=tuple(
            PrintedLine(
                heads=line.heads,
                entries=tuple(
                    _entry(entry, scales[index % len(scales)])
                    for index, entry in enumerate(line.entries)
                ),
                is_baseline=line.is_baseline,
            )
            for line in table.lines
        ),
        notes=table.notes,
    )


def _group(table: ResultTable, texts: Sequence[str]) -> str:
    """The values of the columns; with their names where a value does not speak for itself."""
    names = table.column_names
    if len(texts) > len(names):  # the data set was put before them, to keep it apart
        names = (DATASET, *names)
    return ", ".join(
        text if name in (DATASET, "model", "loss") else f"{name} {text}"
        for name, text in zip(names, texts, strict=True)
    )


def _scale(table: ResultTable, metric: str, index: int) -> tuple[float, str]:
    """The largest unit in which the median figure of a metric is at least 1."""
    if metric not in _UNITS:
        return 1.0, ""
    step = len(table.metrics)
    values = sorted(
        entry.figure.mean
        for line in table.lines
        for entry in line.entries[index::step]
        if entry.figure is not None
    )
    middle = values[len(values) // 2] if values else 0.0
    units = _UNITS[metric]
    return next((unit for unit in units if middle >= unit[0]), units[-1])


def _entry(entry: Entry, scale: tuple[float, str]) -> Printed:
    if entry.figure is None:
        return Printed(value="", spread="", mark="", differs=False)
    size, unit = scale
    digits = 1 if unit else DIGITS
    std = None if unit == "B" or (unit and unit.endswith("iB")) else entry.figure.std
    return Printed(
        value=f"{entry.figure.mean / size:,.{digits}f}",
        spread="" if std is None else f"{std / size:.{digits}f}",
        mark=entry.mark,
        differs=entry.differs,
    )
