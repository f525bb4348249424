# pyarrow has no type stubs.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""List the views and tables of a ledger with their columns."""

import pyarrow as pa

from scalelab.store.ledger import Ledger

__all__ = ["contents"]

# What people ask first, in this order; then the tables by name.
_VIEWS = (
    "results",
    "configurations",
    "pareto_memory",
    "pareto_time",
    "components",
    "prediction_error",
)
_BEST = "best_under_budget('8GiB')"
_COLUMNS = """
SELECT table_name AS name, list(column_name ORDER BY column_index) AS columns
FROM duckdb_columns() WHERE NOT internal
GROUP BY table_name
ORDER BY list_position($views, table_name) NULLS LAST, table_name
"""


def contents(ledger: Ledger) -> pa.Table:
    """One row for each view and table, as FROM takes it: `name` and `columns`, a list."""
    found = ledger.query(_COLUMNS, {"views": list(_VIEWS)}).to_pylist()
    best = ledger.query(f"FROM {_BEST} LIMIT 0").column_names
    found.insert(len(_VIEWS), {"name": _BEST, "columns": best})
    schema = pa.schema([("name", pa.string()), ("columns", pa.list_(pa.string()))])
    return pa.Table.from_pylist(found, schema)
