"""Collect the tables and sentences of the report page from a ledger."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from scalelab.core.units import format_bytes, format_seconds
from scalelab.store.ledger import Ledger

__all__ = [
    "configurations",
    "environments",
    "foot",
    "head",
    "pareto_fronts",
    "runs",
    "studies",
    "title",
    "unfinished",
]

_MOST = 300
_SETTINGS = (
    "dataset, num_items, model, loss, batch_size, max_len, hidden_dim, num_negatives, rounds, "
    "n_buckets, n_chunks"
)
_FIGURES = (
    "num_seeds AS seeds, valid_ndcg_10, test_ndcg_10, test_ndcg_10_std AS test_std, peak_bytes, "
    "predicted_peak_bytes, train_s, tokens_per_s"
)
_HEADS = {
    "num_items": "items",
    "batch_size": "batch",
    "max_len": "length",
    "hidden_dim": "dim",
    "num_negatives": "negatives",
    "valid_ndcg_10": "valid NDCG@10",
    "test_ndcg_10": "test NDCG@10",
    "test_std": "std",
    "peak_bytes": "training peak",
    "predicted_peak_bytes": "predicted",
    "train_s": "training",
    "wall_s": "in all",
    "tokens_per_s": "tokens/s",
    "device_bytes": "memory",
    "best_epoch": "best epoch",
    "n_buckets": "buckets",
    "n_chunks": "chunks",
}


def title(ledger: Ledger) -> str:
    """The names of the studies, else the ledger's own."""
    rows = ledger.query("SELECT DISTINCT name FROM studies ORDER BY name").to_pylist()
    return ", ".join(row["name"] for row in rows) or ledger.path.stem


def head(ledger: Ledger, name: str) -> str:
    """The title, how many runs ended how, and the best configuration of each comparison."""
    outcomes = ledger.query(
        "SELECT outcome, count(*) AS n FROM runs GROUP BY outcome ORDER BY n DESC, outcome"
    ).to_pylist()
    tiles = [(row["outcome"], str(row["n"])) for row in outcomes]
    total = ledger.query("SELECT sum(wall_s) AS wall_s FROM runs").to_pylist()[0]["wall_s"]
    if total:
        tiles.append(("time of all runs", format_seconds(total)))
    tiled = "".join(f'<div class="tile"><b>{escape(n)}</b>{escape(k)}</div>' for k, n in tiles)
    if not outcomes:
        tiled = '<p class="soft">This ledger has no runs yet.</p>'
    best = ledger.query(
        "SELECT * FROM best_under_budget(9223372036854775807) ORDER BY dataset, num_items LIMIT 12"
    ).to_pylist()
    found = "".join(f"<li>{_finding(row)}</li>" for row in best)
    list_ = f"<p>Best on validation, whatever the memory:</p><ul>{found}</ul>" if found else ""
    return f'<h1>{escape(name)}</h1>\n<div class="tiles">{tiled}</div>\n{list_}'


def _finding(row: dict[str, Any]) -> str:
    test = "" if row["test_ndcg_10"] is None else f"test NDCG@10 <b>{row['test_ndcg_10']:.4f}</b>, "
    count = row["num_negatives"]
    negatives = f", {count} negative{'' if count == 1 else 's'}" if count else ""
    items = "" if row["num_items"] is None else f", {row['num_items']:,} items"
    peak = "unknown" if row["peak_bytes"] is None else format_bytes(row["peak_bytes"])
    where = f"{row['dataset']}{items} ({row['protocol']}; {row['device']})"
    what = f"{row['model']}, {row['loss']}, batch {row['batch_size']}{negatives}"
    return f"{escape(where)}: <b>{escape(what)}</b>, {test}training peak {escape(peak)}"


def pareto_fronts(ledger: Ledger) -> str:
    """The configurations that nothing beats on validation quality and memory."""
    rows = _rows(ledger, f"SELECT {_SETTINGS}, {_FIGURES} FROM pareto_memory")
    words = "Configurations that nothing beats on validation quality and memory at once."
    return _section("The Pareto front of quality and memory", words, rows)


def configurations(ledger: Ledger) -> str:
    """Every configuration with its means over seeds, the best first."""
    rows = _rows(
        ledger,
        f"SELECT {_SETTINGS}, {_FIGURES} FROM configurations "
        "ORDER BY dataset, num_items, valid_ndcg_10 DESC NULLS LAST, configuration",
    )
    return _section("Configurations", "Means over seeds, the best on validation first.", rows)


def runs(ledger: Ledger) -> str:
    """Every finished run, folded away."""
    rows = _rows(
        ledger,
        f"SELECT {_SETTINGS}, seed, valid_ndcg_10, test_ndcg_10, peak_bytes, "
        "predicted_peak_bytes, train_s, wall_s, best_epoch, epochs, tokens_per_s, run_id "
        "FROM results ORDER BY started_at, run_id",
    )
    if not rows:
        return ""
    return f"<details><summary>Finished runs ({_count(rows)})</summary>{_table(rows)}</details>"


def unfinished(ledger: Ledger) -> str:
    """Runs that ended otherwise, with phase and message."""
    rows = _rows(
        ledger,
        f"SELECT outcome, phase, error, {_SETTINGS}, seed, attempt, peak_bytes, "
        "predicted_peak_bytes, wall_s, run_id "
        "FROM runs WHERE outcome <> 'done' ORDER BY outcome, started_at, run_id",
    )
    words = "Running out of memory or time is a result: where it happened and what was said."
    return _section("What did not finish", words, rows)


def environments(ledger: Ledger) -> str:
    """The machines and the software of the runs."""
    rows = _rows(
        ledger,
        'SELECT host, device, device_bytes, driver, torch, python, scalelab, "commit", threads, '
        "count(*) AS runs FROM environments GROUP BY ALL ORDER BY runs DESC, host",
    )
    return _section("Environment", "", rows)


def studies(ledger: Ledger) -> str:
    """Each study as it was asked for."""
    found = ledger.query("SELECT name, spec_toml, created_at FROM studies ORDER BY created_at")
    parts = [
        f"<h2>The study {escape(row['name'])}, as asked on {_text('', row['created_at'])}</h2>"
        f"<pre>{escape(row['spec_toml'])}</pre>"
        for row in found.to_pylist()
    ]
    return "\n".join(parts)


def foot(ledger: Ledger) -> str:
    """Where the page comes from."""
    made = ledger.query("SELECT created_by FROM meta").to_pylist()[0]["created_by"]
    words = f"Drawn from {ledger.path.name}, created by {made}. This page needs no network."
    return f"<footer>{escape(words)}</footer>"


def _rows(ledger: Ledger, sql: str) -> list[dict[str, Any]]:
    rows = ledger.query(f"SELECT *, count(*) OVER () AS of_all FROM ({sql}) LIMIT {_MOST}")
    return rows.to_pylist()


def _count(rows: Sequence[dict[str, Any]]) -> str:
    of_all = rows[0]["of_all"]
    return f"{of_all:,}" if of_all == len(rows) else f"first {len(rows):,} of {of_all:,}"


def _section(heading: str, words: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    left_out = "" if rows[0]["of_all"] == len(rows) else f" Shown: {_count(rows)}."
    said = f'<p class="soft">{escape(words + left_out)}</p>' if words + left_out else ""
    return f"<h2>{escape(heading)}</h2>\n{said}\n{_table(rows)}"


def _table(rows: list[dict[str, Any]]) -> str:
    """A table of the columns that hold anything, numbers to the right."""
    shown = [
        name for name in rows[0] if name != "of_all" and any(row[name] is not None for row in rows)
    ]
    numeric = {
        name for name in shown if all(isinstance(row[name], int | float | None) for row in rows)
    }
    heads = "".join(
        f'<th class="number">{escape(_head(name))}</th>'
        if name in numeric
        else f"<th>{escape(_head(name))}</th>"
        for name in shown
    )
    lines = []
    for row in rows:
        cells = [f"<td{_class(name, numeric)}>{_text(name, row[name])}</td>" for name in shown]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    tall = " tall" if len(rows) > 15 else ""
    body = "\n".join(lines)
    return (
        f'<div class="scroll{tall}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _head(name: str) -> str:
    return _HEADS.get(name, name.replace("_", " "))


def _class(name: str, numeric: set[str]) -> str:
    if name in numeric:
        return ' class="number"'
    return ' class="wide"' if name == "error" else ""


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
    if name.endswith("std"):
        return f"{value:.4f}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return escape(f"{value:,}" if name == "num_items" else str(value))
