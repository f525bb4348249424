"""Hold the rows of a query: an Arrow table that shows itself and becomes a data frame."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from scalelab.core.for_people import with_unit
from scalelab.notebook.html_table import html_table, paragraph
from scalelab.result_tables.frames import as_pandas, as_polars

__all__ = ["Rows", "rows_of"]

# More rows than people read in a notebook.
_MOST = 60


class Rows:
    """Rows of a ledger, with everything that a `pyarrow.Table` has: `num_rows`, `column(...)`, ...

    `arrow` is that table, for what checks the type. DuckDB, pandas and polars take the rows as they
    are.
    """

    def __init__(self, arrow: pa.Table) -> None:
        self.arrow = arrow

    def to_pylist(self) -> list[dict[str, Any]]:
        """A dict for each row."""
        return self.arrow.to_pylist()

    def to_pandas(self) -> Any:
        """A pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        return as_pandas(self.arrow)

    def to_polars(self) -> Any:
        """A polars DataFrame. Raises MissingExtra where polars is not installed."""
        return as_polars(self.arrow)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.arrow.__arrow_c_stream__(requested_schema)

    def __getattr__(self, name: str) -> Any:
        if name == "arrow":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.arrow, name)

    def __getitem__(self, column: Any) -> Any:
        return self.arrow[column]

    def __len__(self) -> int:
        return self.arrow.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """A dict for each row, in their order."""
        return iter(self.to_pylist())

    def __eq__(self, other: object) -> bool:
        table = other.arrow if isinstance(other, Rows) else other
        return isinstance(table, pa.Table) and bool(self.arrow.equals(table))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.arrow)

    def _repr_html_(self) -> str:
        names: list[str] = list(self.arrow.column_names)
        # By column, not by name: a query may return two columns of the same name.
        shown = [column.to_pylist() for column in self.arrow.slice(0, _MOST).columns]
        numbers = {
            name
            for name, values in zip(names, shown, strict=True)
            if all(isinstance(value, int | float | None) for value in values)
        }
        rows = [
            [with_unit(name, value, names) for name, value in zip(names, row, strict=True)]
            for row in zip(*shown, strict=True)
        ]
        table = html_table(names, rows, numbers=numbers)
        left = len(self) - len(rows)
        return table + (paragraph(f"{left:,} more rows are not shown") if left else "")


def rows_of(documents: Sequence[dict[str, Any]]) -> Rows:
    """Rows of dicts; a name that a dict does not have is null in its row."""
    names = dict.fromkeys(name for document in documents for name in document)
    columns = {name: [document.get(name) for document in documents] for name in names}
    return Rows(pa.table(columns))
