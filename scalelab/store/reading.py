# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""Check a query of a person before it runs, and say what is wrong with one that failed."""

import math
import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from scalelab.core.errors import LedgerError
from scalelab.store.opening import first_line

__all__ = ["check_reads_only", "plain_numbers", "query_failed", "with_products"]

_LOGGING = re.compile("enable_logging", re.IGNORECASE)
_LOGGING_CALLS = ('"function_name":"enable_logging"', '"function_name":"query"')
# How DuckDB says that a file was cut or written over.
_DAMAGED = re.compile("enough bytes from file|Corrupt|checksum")
# How DuckDB begins the line that names what a person may have meant.
_CANDIDATES = ("Did you mean", "Candidate")


def check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises LedgerError for statements that are no SELECT, and for more than one.

    DuckDB 1.4 lets COPY write LEDGER.wal, even on a connection that only reads; the next one to
    write would take it for its own.
    """
    statements = connection.extract_statements(sql)
    if len(statements) > 1:
        message = f"the query failed: it has {len(statements)} statements"
        raise LedgerError(message, "ask one question at a time")
    for statement in statements:
        if statement.type != duckdb.StatementType.SELECT:
            raise LedgerError(
                f"the query failed: {statement.type.name} is not allowed, only SELECT is",
                "a query only reads the ledger; --out FILE saves what it returns",
            )
    # DuckDB 1.4 ends the whole process where this function is to write a file.
    if _LOGGING.search(sql) and any(call in _parsed(connection, sql) for call in _LOGGING_CALLS):
        raise LedgerError(
            "the query failed: enable_logging is not allowed",
            "a query only reads the ledger; --out FILE saves what it returns",
        )


def _parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The query as DuckDB's parser sees it, in small letters; empty where it cannot be parsed."""
    rows = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    return str(rows[0][0]).lower()


def with_products(sql: str) -> str:
    """`best_under_budget(8 * 1024 * 1024 * 1024)` with the product worked out.

    DuckDB multiplies such numbers with 32 bits, whatever takes the product.
    """

    def product(found: re.Match[str]) -> str:
        return f"{found[1]}{math.prod(int(factor) for factor in found[2].split('*'))})"

    return re.sub(r"(?i)(\bbest_under_budget\s*\(\s*)(\d+(?:\s*\*\s*\d+)+)\s*\)", product, sql)


def query_failed(
    connection: duckdb.DuckDBPyConnection, sql: str, error: duckdb.Error, children: Sequence[str]
) -> LedgerError:
    """What DuckDB says of a query: its first line, its own hint, and the place in the SQL."""
    message = first_line(error)
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        try:  # a relation's errors do not name the place in the query; those of a statement do
            connection.execute(f"EXPLAIN {sql}")
        except (duckdb.BinderException, duckdb.CatalogException) as placed:
            error = placed
    lines = [line.rstrip() for line in str(error).splitlines()[1:]]
    begun = next((n for n, line in enumerate(lines) if line.startswith("LINE ")), len(lines))
    own = [line.strip() for line in lines[:begun] if line.strip().startswith(_CANDIDATES)]
    if "read-only mode" in message or "disabled by configuration" in message:
        hint = "a query only reads the ledger; --out FILE saves what it returns"
    elif _DAMAGED.search(message):
        hint = "the file is damaged: restore it from a copy, or move it away and sweep again"
    elif own:
        hint = " ".join(own)
    else:
        tables = "studies, runs, baselines, " + ", ".join(children)
        views = "results, configurations, pareto_memory, pareto_time, components, prediction_error"
        hint = f"tables: {tables}; views: {views}"
    detail = _without_explain(lines[begun:])
    return LedgerError(f"the query failed: {message}", hint, detail=detail)


def plain_numbers(rows: pa.Table) -> pa.Table:
    """Sums of integers come as 128-bit decimals, which few readers know: 64 bits, else floats."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_decimal128(field.type) and field.type.scale == 0:
            column = rows.column(index)
            try:
                plain = column.cast(pa.int64())
            except pa.ArrowInvalid:
                plain = column.cast(pa.float64())
            rows = rows.set_column(index, field.name, plain)
    return rows


def _without_explain(lines: Sequence[str]) -> str:
    """The lines that show the place in the SQL, as they are without EXPLAIN before it."""
    word = "EXPLAIN "
    at = lines[0].find(word) if lines else -1
    if at < 0:
        return "\n".join(lines)
    below = [line[len(word) :] if line.startswith(" " * len(word)) else line for line in lines[1:]]
    return "\n".join([lines[0].replace(word, "", 1), *below])
