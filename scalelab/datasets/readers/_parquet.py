"""Look up in a parquet file what DuckDB does not say: names as written, and nanoseconds."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from scalelab.core.errors import DataError

__all__ = ["refuse_zoned_nanoseconds", "written_names"]


def written_names(path: Path) -> list[str]:
    """The columns as they are called in the file; DuckDB gives each a name of its own."""
    return list(pq.read_schema(path).names)


def refuse_zoned_nanoseconds(paths: Iterable[Path], column: str, source: object) -> None:
    """Raises DataError where DuckDB would round times: before 2.0, nanoseconds with a zone."""
    if int(duckdb.__version__.partition(".")[0]) >= 2:
        return
    if any(_has_zoned_nanoseconds(path, column) for path in paths):
        raise DataError(
            f"{source}: times of {column!r} have nanoseconds and a zone, which DuckDB "
            f"{duckdb.__version__} rounds to microseconds",
            "install DuckDB 2.0 or later, or write the column without a zone",
        )


def _has_zoned_nanoseconds(path: Path, column: str) -> bool:
    with pq.ParquetFile(path) as file:
        place = file.schema_arrow.get_field_index(column)
        kind = pa.null() if place < 0 else file.schema_arrow.field(place).type
        if not pa.types.is_timestamp(kind) or kind.unit != "ns" or kind.tz is None:
            return False
        parts = file.iter_batches(columns=[column])
        values = (part.column(0).cast(pa.int64()).drop_null().to_numpy() for part in parts)
        return any((nanos % 1000).any() for nanos in values)
