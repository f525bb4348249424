"""Collect the configurations of the page: one row each, its settings and what its figures are."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.figures import metric_name
from scalelab.core.units import format_bytes, format_seconds
from scalelab.findings.differences import KEY, Key, describe, key_of
from scalelab.findings.metrics import metrics_of
from scalelab.findings.order import lost_in_words
from scalelab.findings.verdicts import verdicts_of
from scalelab.reporting.quality import configurations_by, metric_of
from scalelab.reporting.selection import MOST, SHOWN, ids, num_configurations
from scalelab.reporting.shared_parts import without_shared
from scalelab.reporting.views import Keys
from scalelab.store.ledger import Ledger

__all__ = ["Column", "Configurations", "Row", "collect"]

_ROWS = f"""
SELECT {", ".join(KEY)}, dataset, num_items, model, loss, spec::VARCHAR AS spec, num_seeds,
    num_lost,
    own_valid, own_test, own_test_std, test_quality, peak_bytes,
    predicted_peak_bytes, train_s, tokens_per_s
FROM {{configurations}} WHERE configuration IN ({SHOWN})
ORDER BY dataset, num_items, num_lost > 0, own_valid DESC NULLS LAST, {", ".join(KEY)}
"""
# A column, its heading, and how its values are written.
_COLUMNS = {
    "num_seeds": ("seeds", str),
    "own_valid": ("valid {own}", "{:.4f}".format),
    "own_test": ("test {own}", "{:.4f}".format),
    "own_test_std": ("std", "{:.4f}".format),
    "test_quality": ("test {shown}", "{:.4f}".format),
    "peak_bytes": ("training peak", format_bytes),
    "predicted_peak_bytes": ("predicted", format_bytes),
    "train_s": ("training", format_seconds),
    "tokens_per_s": ("tokens/s", "{:,.0f}".format),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, and whether its values are numbers."""

    text: str
    is_number: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A configuration; each of `values` is a text and the value by which it is sorted. `id` stays
    the same in every page of a ledger, `number` does not.
    """

    number: int
    id: str
    loss: str
    label: str
    is_on_front: bool
    is_best: bool
    peak_bytes: int | None
    train_s: float | None
    values: list[tuple[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Configurations:
    """The table of the page. `settings` holds the settings of the runs, for its script."""

    columns: list[Column]
    rows: list[Row]
    total: int
    usual: str
    shared: str
    settings: dict[str, Any]

    @property
    def words(self) -> str:
        """What the table holds."""
        words = "Means over seeds, the best on validation first."
        if self.shared:
            words += f" All data: {self.shared}."
        if self.total > MOST:
            words += (
                f" There are {self.total:,} configurations; the page holds {len(self.rows):,}: "
                "the Pareto fronts and the best of each loss."
            )
        return f"{words} Where a row does not name it: {self.usual}." if self.usual else words


def collect(ledger: Ledger, keys: Keys, metric: str | None = None) -> Configurations:
    """The configurations of a ledger with their figures, the best on validation first.

    A metric other than that of the runs has a column of its own. Raises SpecError for an unknown
    one.
    """
    shown, metrics = metric_of(ledger, metric), metrics_of(ledger)
    own_name = metric_name(metrics[0]) if len(metrics) == 1 else "by own metric"
    rows = ledger.query(_ROWS.format(configurations=configurations_by(shown))).to_pylist()
    described, verdicts = describe(rows), verdicts_of(ledger, ids(rows))
    fronts = {
        key_of(row)
        for view in ("pareto_memory", "pareto_time")
        for row in ledger.query(f"SELECT {', '.join(KEY)} FROM {view}").to_pylist()
    }
    best: dict[tuple[Any, ...], Key] = {}
    for row in rows:
        if row["own_valid"] is not None and not row["num_lost"]:
            best.setdefault(key_of(row)[1:], key_of(row))
    data = list(dict.fromkeys(described[key_of(row)].data for row in rows))
    several = len(data) > 1
    shorter, shared = without_shared(data)
    named = dict(zip(data, shorter, strict=True))
    figures = [name for name in _COLUMNS if any(row[name] is not None for row in rows)]
    if shown.is_usual:
        figures = [name for name in figures if name != "test_quality"]
    notes = {
        key_of(row): "; ".join(
            note for note in (verdicts[key_of(row)].words, lost_in_words(row)) if note
        )
        for row in rows
    }
    columns = [Column(text="data", is_number=False)] if several else []
    columns.append(Column(text="configuration", is_number=False))
    columns += [
        Column(text=_COLUMNS[name][0].format(own=own_name, shown=shown.title), is_number=True)
        for name in figures
    ]
    columns.append(Column(text="note", is_number=False))
    found = []
    for row in rows:
        key = key_of(row)
        own = described[key]
        values: list[tuple[str, Any]] = [(named[own.data], own.data)] if several else []
        values.append((own.label, own.label))
        values += [(_text(name, row[name]), row[name]) for name in figures]
        values.append((notes[key], notes[key]))
        found.append(
            Row(
                number=keys.of(key),
                id=_id(key),
                loss=row["loss"],
                label=own.label,
                is_on_front=key in fronts,
                is_best=best.get(key[1:]) == key,
                peak_bytes=row["peak_bytes"],
                train_s=row["train_s"],
                values=values,
            )
        )
    bests = {
        keys.of(key_of(row)): keys.of(best[key_of(row)[1:]])
        for row in rows
        if key_of(row)[1:] in best
    }
    return Configurations(
        columns=columns,
        rows=found,
        total=num_configurations(ledger),
        usual=described[key_of(rows[0])].usual if rows else "",
        shared=shared,
        settings=_settings([(keys.of(key_of(row)), row["spec"]) for row in rows], bests),
    )


def _id(key: Key) -> str:
    """What names a configuration in a later page too, where it may have another number."""
    return hashlib.blake2b(repr(key).encode(), digest_size=6).hexdigest()


def _text(name: str, value: Any) -> str:
    return "" if value is None else _COLUMNS[name][1](value)


def _settings(specs: Sequence[tuple[int, str]], bests: dict[int, int]) -> dict[str, Any]:
    """The settings that all share, those of each, and the best to compare each with."""
    flat = [(number, _flat("", json.loads(spec))) for number, spec in specs]
    common = dict(flat[0][1]) if flat else {}
    for _, one in flat:
        common = {key: value for key, value in common.items() if one.get(key, ...) == value}
    own = {
        number: {key: value for key, value in one.items() if key not in common}
        for number, one in flat
    }
    return {"common": common, "own": own, "best": bests}


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    """Settings by dotted key, without those that are not set and those that nobody writes."""
    found: dict[str, Any] = {}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        name = f"{prefix}.{key}" if prefix else str(key)
        nested = isinstance(inner, dict) or (
            isinstance(inner, list) and any(isinstance(each, dict) for each in inner)
        )
        if name == "sources" or inner is None:
            continue
        found |= _flat(name, inner) if nested else {name: inner}
    return found
