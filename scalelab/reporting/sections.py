"""Collect the tables and sentences of the report page from a ledger."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scalelab.core.figures import metric_name
from scalelab.core.units import format_bytes, format_seconds
from scalelab.findings.differences import KEY, describe, key_of
from scalelab.store.ledger import Ledger

__all__ = [
    "Cell",
    "Head",
    "Section",
    "Table",
    "head",
    "plain_table",
    "sections",
    "studies",
    "title",
]

_MOST = 300
_WHAT = f"{', '.join(KEY)}, dataset, num_items, spec::VARCHAR AS spec"
_HEADS = {
    "peak_bytes": "training peak",
    "predicted_peak_bytes": "predicted",
    "train_s": "training",
    "wall_s": "in all",
    "tokens_per_s": "tokens/s",
    "device_bytes": "memory",
    "best_epoch": "best epoch",
}
# Outcomes whose names in the ledger are short for something.
_OUTCOMES = {"oom": "out of memory", "timeout": "out of time", "skipped": "not started"}
_WIDE = ("error", "configuration", "data", "note")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of a table as text, and the class of its style."""

    text: str
    style: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page; `heads` and each of `rows` have one cell per column."""

    heads: list[Cell]
    rows: list[list[Cell]]
    total: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a sentence and a table. `folded`: shown only when it is opened."""

    heading: str
    words: str
    table: Table
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Head:
    """The question of the study, how many runs ended how, and the time of all."""

    question: str
    tiles: list[tuple[str, str]]


def title(ledger: Ledger) -> str:
    """The names of the studies, else the ledger's own."""
    rows = ledger.query("SELECT DISTINCT name FROM studies ORDER BY name").to_pylist()
    return ", ".join(row["name"] for row in rows) or ledger.path.stem


def head(ledger: Ledger) -> Head:
    """The summary at the top of the page."""
    outcomes = ledger.query(
        "SELECT outcome, count(*) AS n FROM runs GROUP BY outcome ORDER BY n DESC, outcome"
    ).to_pylist()
    ended = ((str(row["outcome"]), f"{row['n']:,}") for row in outcomes)
    tiles = [(_OUTCOMES.get(outcome, outcome), count) for outcome, count in ended]
    total = ledger.query("SELECT sum(wall_s) AS wall_s FROM runs").to_pylist()[0]["wall_s"]
    if total:
        tiles.append(("time of all runs", format_seconds(total)))
    return Head(question=_question(ledger), tiles=tiles)


def _question(ledger: Ledger) -> str:
    """What the studies ask, in their own words."""
    found: list[str] = []
    for row in ledger.query("SELECT spec_toml FROM studies ORDER BY created_at").to_pylist():
        try:
            found.append(str(tomllib.loads(row["spec_toml"]).get("question", "")))
        except tomllib.TOMLDecodeError:
            continue
    return " ".join(dict.fromkeys(question for question in found if question))


def sections(ledger: Ledger) -> list[Section]:
    """All sections with tables that have rows, in the order of the page."""
    found = (_unfinished(ledger), _baselines(ledger), _runs(ledger), _environments(ledger))
    return [section for section in found if section is not None]


def plain_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A table whose first row holds the headings; columns without any value are left out."""
    empty = {name for name in rows[0] if len(rows) > 1 and not any(row[name] for row in rows[1:])}
    rows = [{name: row[name] for name in row if name not in empty} for row in rows]
    heads = [Cell(text=str(value), style="") for value in rows[0].values()]
    styles = ["wide" if head.text in _WIDE else "" for head in heads]
    body = [
        [
            Cell(text=str(value), style=style)
            for value, style in zip(row.values(), styles, strict=True)
        ]
        for row in rows[1:]
    ]
    return Table(heads=heads, rows=body, total=len(body))


def studies(ledger: Ledger) -> list[dict[str, str]]:
    """The TOML of each study, with its name and date."""
    found = ledger.query("SELECT name, spec_toml, created_at FROM studies ORDER BY created_at")
    return [
        {"name": row["name"], "toml": row["spec_toml"], "created": _text("", row["created_at"])}
        for row in found.to_pylist()
    ]


def _baselines(ledger: Ledger) -> Section | None:
    rows, total = _rows(
        ledger,
        "SELECT coalesce(dataset, data_fingerprint) AS data, b.protocol, "
        "replace(name, '_', ' ') AS baseline, b.metric || '@' || b.k AS metric, "
        "max(value) FILTER (split = 'valid') AS valid_quality, "
        "max(value) FILTER (split = 'test') AS test_quality, max(seconds) AS duration_s "
        "FROM baselines AS b LEFT JOIN (SELECT data_fingerprint, any_value(dataset) AS dataset "
        "FROM runs GROUP BY data_fingerprint) AS named USING (data_fingerprint) "
        "WHERE b.metric || '@' || b.k IN (SELECT quality_metric FROM results) "
        "GROUP BY ALL ORDER BY data, protocol, metric, test_quality DESC",
    )
    words = "Rankings that need no training. A model below the best of them has learned too little."
    return _section("Baselines", words, _by_metric(rows), total) if rows else None


def _runs(ledger: Ledger) -> Section | None:
    """Every finished run, folded away."""
    rows, total = _rows(
        ledger,
        f"SELECT {_WHAT}, quality_metric AS metric, seed, valid_quality, test_quality, "
        "peak_bytes, predicted_peak_bytes, "
        "train_s, wall_s, best_epoch, epochs, stopped, tokens_per_s, run_id "
        "FROM results ORDER BY started_at, run_id",
    )
    if not rows:
        return None
    shown = _by_metric(_named(rows))
    count = f"{total:,}" if total == len(rows) else f"first {len(rows):,} of {total:,}"
    return _section(f"Finished runs ({count})", "", shown, total, folded=True)


def _unfinished(ledger: Ledger) -> Section | None:
    """Runs that ended otherwise, with phase and message."""
    rows, total = _rows(
        ledger,
        f"SELECT {_WHAT}, outcome, phase, error, seed, attempt, peak_bytes, "
        "predicted_peak_bytes, wall_s, run_id "
        "FROM runs WHERE outcome <> 'done' ORDER BY outcome, started_at, run_id",
    )
    words = "A run that needs too much memory or time is a result: in which phase, and the message."
    return _section("Runs that did not finish", words, _named(rows), total) if rows else None


def _environments(ledger: Ledger) -> Section | None:
    rows, total = _rows(
        ledger,
        'SELECT host, device, device_bytes, driver, torch, python, scalelab, "commit", threads, '
        "count(*) AS runs FROM environments GROUP BY ALL ORDER BY runs DESC, host",
    )
    return _section("Machines and software", "", rows, total) if rows else None


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their data and configuration in words in place of keys and spec."""
    described = describe(rows)
    hidden = (*KEY, "dataset", "num_items", "spec")
    return [
        {"data": own.data, "configuration": own.label}
        | {name: value for name, value in row.items() if name not in hidden}
        for row in rows
        if (own := described[key_of(row)])
    ]


def _by_metric(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the metric in the heads of the qualities; where it differs, in its column."""
    metrics = {row["metric"] for row in rows}
    name = f" {metric_name(metrics.pop())}" if len(metrics) == 1 else ""
    heads = {"valid_quality": f"valid{name}", "test_quality": f"test{name}"}
    return [
        {
            heads.get(key, key): metric_name(value) if key == "metric" else value
            for key, value in row.items()
            if key != "metric" or not name
        }
        for row in rows
    ]


def _rows(ledger: Ledger, sql: str) -> tuple[list[dict[str, Any]], int]:
    """The first rows of a query and the number of all."""
    table = ledger.query(f"SELECT *, count(*) OVER () AS of_all FROM ({sql}) LIMIT {_MOST}")
    total = table["of_all"][0].as_py() if table.num_rows else 0
    return table.drop_columns(["of_all"]).to_pylist(), total


def _section(
    heading: str, words: str, rows: Sequence[dict[str, Any]], total: int, *, folded: bool = False
) -> Section:
    """A section with the columns that hold anything, numbers to the right."""
    shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    numeric = {
        name for name in shown if all(isinstance(row[name], int | float | None) for row in rows)
    }
    styles = {
        name: "number" if name in numeric else "wide" if name in _WIDE else "" for name in shown
    }
    if total > _MOST and not folded:
        words = f"{words} Shown: the first {_MOST:,} of {total:,}."
    table = Table(
        heads=[Cell(text=_head(name), style=styles[name]) for name in shown],
        rows=[
            [Cell(text=_text(name, row[name]), style=styles[name]) for name in shown]
            for row in rows
        ],
        total=total,
    )
    return Section(heading=heading, words=words, table=table, folded=folded)


def _head(name: str) -> str:
    return _HEADS.get(name, name.replace("_", " "))


def _text(name: str, value: Any) -> str:
    """A value for people: bytes and seconds with units, qualities with four digits."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("per_s"):
        return f"{value:,.0f}"
    if name.endswith("_s"):
        return format_seconds(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
