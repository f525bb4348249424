"""Write rows of a ledger as csv, json or parquet."""

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scalelab.core.errors import LedgerError, SpecError
from scalelab.core.whole_file import whole_file
from scalelab.result_tables.formats import format_of

__all__ = ["as_text", "save"]

_FORMATS = ("csv", "json", "parquet")


def as_text(rows: pa.Table, format: str) -> str:
    """Rows as csv or json (one document: a list of objects). Raises SpecError for parquet."""
    if format == "csv":
        return _as_csv(rows)
    if format == "json":
        return _as_json(rows)
    raise SpecError(f"{format} cannot be printed", "add --out FILE")


def save(rows: pa.Table, format: str | None, out: Path) -> None:
    """Write rows as csv, json or parquet; None takes what the file's name says, else csv.

    Raises SpecError where both are given and differ, LedgerError where it cannot be written.
    """
    format = format_of(format, out, _FORMATS, "csv")
    try:
        with whole_file(out) as partial:
            if format == "parquet":
                pq.write_table(rows, partial)
            else:
                partial.write_text(as_text(rows, format), encoding="utf-8")
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LedgerError(f"cannot write {out}: {reason}", "choose another file") from error


def _values(rows: pa.Table) -> list[tuple[Any, ...]]:
    # By column, not by name: a query may return two columns of the same name.
    return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _as_csv(rows: pa.Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    for values in _values(rows):
        writer.writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, default=_plain)
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value


def _as_json(rows: pa.Table) -> str:
    names = rows.column_names
    documents = [
        dict(zip(names, (_finite(value) for value in values), strict=True))
        for values in _values(rows)
    ]
    return json.dumps(documents, indent=2, default=_plain, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity and no not-a-number; decimals of SQL are its plain numbers."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
