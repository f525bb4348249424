"""Write rows block by block as parquet, csv or JSON lines, the file appearing when it is whole."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from scalelab.core.errors import LedgerError
from scalelab.core.whole_file import whole_file
from scalelab.result_tables.formats import format_of

__all__ = ["ROW_FORMATS", "RowWriter", "writing_rows"]

ROW_FORMATS = ("parquet", "csv", "jsonl")


class RowWriter:
    """Takes blocks of columns; the first decides names and types."""

    def __init__(self, file: Path, format: str) -> None:
        self._file = file
        self._format = format
        self._sink: Any = None
        self.num_rows = 0

    def write(self, columns: Mapping[str, Any]) -> None:
        """Columns of equal length: arrays or lists."""
        rows = pa.table({name: pa.array(values) for name, values in columns.items()})
        if self._sink is None:
            self._sink = self._opened(rows.schema)
        if self._format == "jsonl":
            for row in rows.to_pylist():
                self._sink.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            self._sink.write_table(rows)
        self.num_rows += rows.num_rows

    def close(self) -> None:
        """Ends the file."""
        if self._sink is not None:
            self._sink.close()

    def _opened(self, schema: pa.Schema) -> Any:
        if self._format == "parquet":
            return pq.ParquetWriter(self._file, schema)
        if self._format == "csv":
            return pa_csv.CSVWriter(self._file, schema)
        return self._file.open("w", encoding="utf-8")


@contextmanager
def writing_rows(out: Path, format: str | None = None) -> Iterator[RowWriter]:
    """A writer to a file beside `out` that takes its place when all went well.

    Raises SpecError for a format that is not known, LedgerError where it cannot be written.
    """
    format = format_of(format, out, ROW_FORMATS, "parquet")
    try:
        with whole_file(out) as partial:
            writer = RowWriter(partial, format)
            partial.touch()
            yield writer
            writer.close()
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LedgerError(f"cannot write {out}: {reason}", "choose another file") from error
