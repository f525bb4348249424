# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Change what an older ledger holds into what the schema of today holds."""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import tomli_w

from scalelab.core.figures import QUALITY_KEY, metric_of, quality_of
from scalelab.core.identity import configuration_of
from scalelab.core.initial_row import resolved_by_spec
from scalelab.core.records import Metric
from scalelab.core.renamed import with_new_names, with_new_names_in_study
from scalelab.store.schema import run_columns, schema_sql

__all__ = ["MIGRATIONS", "rebuild"]

Step = Callable[[duckdb.DuckDBPyConnection], None]


def rebuild(connection: duckdb.DuckDBPyConnection) -> None:
    """Make tables and views those of today's schema, after the last step, and keep all rows."""
    connection.execute("ALTER TABLE runs RENAME TO runs_before")
    connection.execute(schema_sql())
    columns = ", ".join(run_columns())
    connection.execute(f"INSERT INTO runs BY NAME SELECT {columns} FROM runs_before")
    connection.execute("DROP TABLE runs_before")


def _from_1(connection: duckdb.DuckDBPyConnection) -> None:
    """New columns; keys by their new names in the specs of runs and studies.

    `results_version` stays NULL, and fingerprints stay as they are: files are read, and models
    evaluated, by other rules now, so no old run may take the place of a new one.
    """
    for column in (
        "resolved JSON",
        "origin JSON",
        "stopped VARCHAR",
        "account_error DOUBLE",
        "tied_targets DOUBLE",
        "repeated_targets DOUBLE",
        "results_version BIGINT",
        "threads BIGINT",
    ):
        connection.execute(f"ALTER TABLE runs ADD COLUMN {column}")
    rows = connection.execute("SELECT run_id, spec, data_fingerprint FROM runs").fetchall()
    changed = pa.Table.from_pylist(
        [_of_today(*row) for row in rows],
        pa.schema([(name, pa.string()) for name in ("id", "spec", "configuration", "resolved")]),
    )
    connection.register("changed", changed)
    connection.execute(
        "UPDATE runs SET spec = changed.spec, configuration = changed.configuration, "
        "resolved = changed.resolved FROM changed WHERE runs.run_id = changed.id"
    )
    connection.unregister("changed")
    connection.execute(
        "UPDATE runs SET threads = environments.threads "
        "FROM environments WHERE runs.run_id = environments.run_id"
    )
    for study_id, text in connection.execute("SELECT study_id, spec_toml FROM studies").fetchall():
        connection.execute(
            "UPDATE studies SET spec_toml = ? WHERE study_id = ?", [_study(text), study_id]
        )


def _from_2(connection: duckdb.DuckDBPyConnection) -> None:
    """The quality by the metric that chose the epoch: that of `evaluate.metric`."""
    names = ("valid_quality", "test_quality", "oracle_quality")
    connection.execute("ALTER TABLE runs ADD COLUMN quality_metric VARCHAR")
    for name in names:
        connection.execute(f"ALTER TABLE runs ADD COLUMN {name} DOUBLE")
    connection.execute(
        "UPDATE runs SET quality_metric = ?, valid_quality = valid_ndcg_10, "
        "test_quality = test_ndcg_10, oracle_quality = oracle_ndcg_10",
        [QUALITY_KEY],
    )
    rows = connection.execute("SELECT run_id, spec, best_epoch FROM runs").fetchall()
    named = {run_id: (metric_of(json.loads(text)), epoch) for run_id, text, epoch in rows}
    others = {run_id: own for run_id, own in named.items() if own[0] != QUALITY_KEY}
    metrics: dict[str, list[Metric]] = {run_id: [] for run_id in others}
    for run_id, split, epoch, name, k, value in connection.execute(
        "SELECT run_id, split, epoch, name, k, value FROM metrics WHERE list_contains(?, run_id)",
        [list(others)],
    ).fetchall():
        one = Metric(split=split, epoch=epoch, name=name, k=k, value=value)
        metrics[run_id].append(one)
    changed = pa.Table.from_pylist(
        [_qualities(run_id, metrics[run_id], *own) for run_id, own in others.items()],
        pa.schema(
            [
                ("id", pa.string()),
                ("quality_metric", pa.string()),
                *((name, pa.float64()) for name in names),
            ]
        ),
    )
    connection.register("changed", changed)
    columns = ", ".join(f"{name} = changed.{name}" for name in ("quality_metric", *names))
    connection.execute(f"UPDATE runs SET {columns} FROM changed WHERE runs.run_id = changed.id")
    connection.unregister("changed")


def _from_3(connection: duckdb.DuckDBPyConnection) -> None:
    """Ranks of several targets of a user: until now there were none."""
    for change in (
        "ADD COLUMN num_targets UINTEGER[]",
        "ADD COLUMN one_list BOOLEAN DEFAULT false",
        "ALTER COLUMN one_list SET NOT NULL",
        "ALTER COLUMN one_list DROP DEFAULT",
    ):
        connection.execute(f"ALTER TABLE IF EXISTS user_ranks {change}")


def _views_alone(connection: duckdb.DuckDBPyConnection) -> None:
    """Nothing: the views alone are new, and those are made anew after the last step."""


def _qualities(
    run_id: str, metrics: Sequence[Metric], metric: str, best_epoch: int | None
) -> dict[str, Any]:
    return {
        "id": run_id,
        "quality_metric": metric,
        "valid_quality": quality_of(metrics, best_epoch, "valid", metric),
        "test_quality": quality_of(metrics, best_epoch, "test", metric),
        "oracle_quality": quality_of(metrics, best_epoch, "test", f"oracle_{metric}"),
    }


def _of_today(run_id: str, text: str, data_fingerprint: str | None) -> dict[str, Any]:
    spec = with_new_names(json.loads(text))
    loss: Mapping[str, Any] = spec.get("loss", {})
    options = {key: value for key, value in loss.items() if key not in ("name", "train_on")}
    return {
        "id": run_id,
        "spec": json.dumps(spec, sort_keys=True),
        "configuration": configuration_of(spec, data_fingerprint, None),
        "resolved": resolved_by_spec(options),  # what "auto" came to was not kept
    }


def _study(text: str) -> str:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return text  # kept as it is: nothing reads it but people
    renamed = with_new_names_in_study(tables)
    return text if renamed == tables else tomli_w.dumps(renamed)


# By version, what makes a ledger of it one of the next version.
MIGRATIONS: dict[int, Step] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _views_alone,
    5: _views_alone,
}
