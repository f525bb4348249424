# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""Lay out records as Arrow tables with the columns of the ledger, and write its schema."""

import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from importlib import metadata, resources
from types import NoneType
from typing import Any

import pyarrow as pa

from scalelab.core.dominance import MAY_WIN
from scalelab.core.figures import metric_of, peak_of, quality_of
from scalelab.core.identity import COMPARABLE, COMPARABLE_IN_TIME, configuration_of
from scalelab.core.memory_kinds import peak_kind
from scalelab.core.records import (
    LOST,
    Baseline,
    Environment,
    Memory,
    Metric,
    Record,
    Run,
    Sample,
    TimelineEvent,
    UserRanks,
)
from scalelab.core.units import BYTES_PER_UNIT

__all__ = [
    "SCHEMA_VERSION",
    "Summary",
    "created_by",
    "run_columns",
    "schema_sql",
    "table_of_baselines",
    "tables_of",
    "valid_columns",
]

SCHEMA_VERSION = 6
_ARROW = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    datetime: pa.timestamp("us"),
    tuple[int, ...]: pa.list_(pa.uint32()),
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What every view needs of a run: more columns of `runs`, derived from the record.

    `configuration` names the spec without its seed; `device` and `threads` are the environment's.
    The qualities without a metric in their names are of `quality_metric`, the run's own.
    """

    configuration: str
    device: str | None
    threads: int | None
    quality_metric: str
    valid_quality: float | None
    test_quality: float | None
    oracle_quality: float | None
    valid_ndcg_10: float | None
    test_ndcg_10: float | None
    oracle_ndcg_10: float | None
    peak_kind: str
    peak_bytes: int | None
    predicted_peak_bytes: int | None
    eval_peak_bytes: int | None
    host_rss_bytes: int | None
    num_children: int


def schema_sql() -> str:
    """The statements that make an empty file a ledger, and old views new ones.

    Rules that views share with the rest of the package are put in from where they are decided.
    """
    text = resources.files("scalelab.store").joinpath("schema.sql").read_text(encoding="utf-8")
    rules = {
        "comparable": ", ".join(COMPARABLE),
        "comparable_in_time": ", ".join(COMPARABLE_IN_TIME),
        "may_win": MAY_WIN,
        "lost": ", ".join(f"'{outcome}'" for outcome in sorted(LOST)),
        "units": "|".join(BYTES_PER_UNIT),
        "bytes_of_unit": " ".join(f"WHEN '{u}' THEN {n}" for u, n in BYTES_PER_UNIT.items()),
    }
    for name, rule in rules.items():
        text = text.replace(f"{{{name}}}", rule)
    return text


def run_columns() -> list[str]:
    """Columns of `runs` that are written; the others are generated from these."""
    return [*_columns(Run), *_columns(Summary)]


def valid_columns() -> list[str]:
    """Columns of `results` that hold a quality on validation."""
    return [field.name for field in fields(Summary) if field.name.startswith("valid_")]


def created_by() -> str:
    """The program that makes a ledger, for its `meta` row."""
    return f"scalelab {metadata.version('scalelab')}, duckdb {metadata.version('duckdb')}"


def tables_of(records: Sequence[Record]) -> dict[str, pa.Table]:
    """The rows of `records` by table name: runs and what belongs to them, `run_id` first."""
    owned = [(record.run.run_id, record) for record in records]
    return {
        "runs": _beside(
            _table(Run, [record.run for record in records]),
            _table(Summary, [_summary(record) for record in records]),
        ),
        "metrics": _children(Metric, [(i, r.metrics) for i, r in owned]),
        "memory": _children(Memory, [(i, r.memory) for i, r in owned]),
        "timeline": _children(TimelineEvent, [(i, r.timeline) for i, r in owned]),
        "samples": _children(Sample, [(i, r.samples) for i, r in owned]),
        "environments": _children(
            Environment, [(i, _at_most_one(r.environment)) for i, r in owned]
        ),
        "user_ranks": _children(UserRanks, [(i, _at_most_one(r.user_ranks)) for i, r in owned]),
    }


def table_of_baselines(baselines: Sequence[Baseline]) -> pa.Table:
    """The rows of `baselines`, one a fact."""
    return _table(Baseline, baselines)


@cache
def _columns(kind: type[Any]) -> dict[str, pa.DataType]:
    hints = typing.get_type_hints(kind)
    return {field.name: _arrow_type(hints[field.name]) for field in fields(kind)}


def _arrow_type(hint: Any) -> pa.DataType:
    if hint in _ARROW:
        return _ARROW[hint]
    plain = [part for part in typing.get_args(hint) if part is not NoneType] or [hint]
    return _ARROW[plain[0]] if plain[0] in _ARROW else pa.string()  # a StrEnum


def _table(kind: type[Any], facts: Sequence[Any]) -> pa.Table:
    columns = _columns(kind)
    arrays = {
        name: pa.array([getattr(fact, name) for fact in facts], arrow_type)
        for name, arrow_type in columns.items()
    }
    return pa.table(arrays)


def _beside(left: pa.Table, right: pa.Table) -> pa.Table:
    for name in right.column_names:
        left = left.append_column(name, right.column(name))
    return left


def _children(kind: type[Any], owned: Sequence[tuple[str, Sequence[Any]]]) -> pa.Table:
    table = _table(kind, [fact for _, facts in owned for fact in facts])
    owners = [run_id for run_id, facts in owned for _ in facts]
    return table.add_column(0, "run_id", pa.array(owners, pa.string()))


def _at_most_one(fact: Any) -> tuple[Any, ...]:
    return () if fact is None else (fact,)


def _summary(record: Record) -> Summary:
    run = record.run
    spec = json.loads(run.spec)
    metric = metric_of(spec)
    kind = peak_kind(str(spec.get("device", {}).get("name", "cpu")))
    return Summary(
        configuration=configuration_of(spec, run.data_fingerprint, run.results_version),
        device=None if record.environment is None else record.environment.device,
        threads=None if record.environment is None else record.environment.threads,
        quality_metric=metric,
        valid_quality=quality_of(record.metrics, run.best_epoch, "valid", metric),
        test_quality=quality_of(record.metrics, run.best_epoch, "test", metric),
        oracle_quality=quality_of(record.metrics, run.best_epoch, "test", f"oracle_{metric}"),
        valid_ndcg_10=quality_of(record.metrics, run.best_epoch, "valid"),
        test_ndcg_10=quality_of(record.metrics, run.best_epoch, "test"),
        oracle_ndcg_10=quality_of(record.metrics, run.best_epoch, "test", "oracle_ndcg@10"),
        peak_kind=kind,
        peak_bytes=peak_of(record.memory, "train", kind),
        predicted_peak_bytes=peak_of(record.memory, "train", kind, "predicted"),
        eval_peak_bytes=peak_of(record.memory, "eval", kind),
        host_rss_bytes=peak_of(record.memory, "process", "host_rss"),
        num_children=len(record.metrics)
        + len(record.memory)
        + len(record.timeline)
        + len(record.samples)
        + (record.environment is not None)
        + (record.user_ranks is not None),
    )
