# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Change what an older ledger holds into what the schema of today holds."""

import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import tomli_w

from scalelab.core.identity import configuration_of
from scalelab.core.initial_row import resolved_by_spec
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
MIGRATIONS: dict[int, Step] = {1: _from_1}
