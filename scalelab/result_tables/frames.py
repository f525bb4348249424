"""Turn rows into data frames of pandas and polars, which are optional."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from typing import Any

import pyarrow as pa

from scalelab.core.errors import MissingExtra

__all__ = ["as_pandas", "as_polars"]


def as_pandas(rows: pa.Table) -> Any:
    """A pandas DataFrame. Raises MissingExtra."""
    try:
        return rows.to_pandas()
    except ModuleNotFoundError as error:
        raise _missing("pandas") from error


def as_polars(rows: pa.Table) -> Any:
    """A polars DataFrame. Raises MissingExtra."""
    try:
        import polars
    except ModuleNotFoundError as error:
        raise _missing("polars") from error
    return polars.from_arrow(rows)


def _missing(package: str) -> MissingExtra:
    return MissingExtra(f"{package} is not installed", f"pip install {package}")
