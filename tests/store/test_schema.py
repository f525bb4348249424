"""The records' fields and the ledger's columns are the same list."""

import hashlib
import typing
from dataclasses import fields

import pytest

from scalelab.core import records
from scalelab.store import schema

pytestmark = pytest.mark.creates_ledgers

TABLES = {
    "metrics": records.Metric,
    "memory": records.Memory,
    "timeline": records.TimelineEvent,
    "samples": records.Sample,
    "environments": records.Environment,
    "user_ranks": records.UserRanks,
}
OF_RECE = ("rounds", "n_buckets", "n_chunks", "n_extra_chunks")
TYPES = {
    "str": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "datetime": "TIMESTAMP",
    "tuple": "UINTEGER[]",
}


def described(ledger, table):
    rows = ledger.query(f"DESCRIBE {table}").to_pylist()
    return {row["column_name"]: (row["column_type"], row["null"]) for row in rows}


def wanted(*kinds):
    """Column name to SQL type and nullability, as the dataclasses' annotations say."""
    columns = {}
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            hint = hints[field.name]
            parts = (
                (hint,) if typing.get_origin(hint) is tuple else typing.get_args(hint) or (hint,)
            )
            sql = TYPES.get(parts[0].__name__, "VARCHAR")
            columns[field.name] = (sql, "YES" if type(None) in parts else "NO")
    return columns


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_fields_of_its_record(ledger, table):
    found = described(ledger, table)
    assert found.pop("run_id") == ("VARCHAR", "NO")
    assert found == wanted(TABLES[table])


def test_runs_have_the_fields_of_run_and_of_its_summary(ledger):
    found = described(ledger, "runs")
    expected = wanted(records.Run, schema.Summary)
    for name, nullable in (("spec", "NO"), ("resolved", "YES"), ("origin", "YES")):
        assert expected.pop(name) == ("VARCHAR", nullable)
        assert found.pop(name) == ("JSON", nullable)
    generated = dict.fromkeys(OF_RECE, ("BIGINT", "YES"))
    assert found == expected | generated


def test_baselines_have_the_fields_of_their_record(ledger):
    assert described(ledger, "baselines") == wanted(records.Baseline)


def test_the_contract_names_are_there(ledger):
    """The columns and views that `interface.md` promises."""
    results = described(ledger, "results")
    for name in ("valid_ndcg_10", "test_ndcg_10", "peak_bytes", "train_s", "predicted_peak_bytes"):
        assert name in results
    for name in OF_RECE:
        assert name in results
        assert name in described(ledger, "runs")
    for view in ("configurations", "pareto_memory", "pareto_time", "components"):
        assert described(ledger, view)
    assert described(ledger, "prediction_error")
    assert ledger.query("FROM best_under_budget(10)").num_rows == 0


def test_a_configuration_does_not_depend_on_seed_or_place(fake):
    one, other = fake.record(seed=1), fake.record(seed=2)
    tables = schema.tables_of([one, other, fake.record(seed=1, batch_size=64)])
    first, second, third = tables["runs"]["configuration"].to_pylist()
    assert first == second != third


# Tables and views of each schema version that any ledger may have.
DIGEST = {6: "3b4025a815813895"}


def test_other_views_are_another_schema_version():
    """A ledger keeps the views it was made with until it is migrated."""
    found = hashlib.sha256(schema.schema_sql().encode()).hexdigest()[:16]
    assert DIGEST.get(schema.SCHEMA_VERSION) == found, (
        "the schema differs from the recorded one: raise SCHEMA_VERSION, add a step to MIGRATIONS "
        f"and {found!r} to DIGEST"
    )
