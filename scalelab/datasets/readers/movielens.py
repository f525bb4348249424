"""A MovieLens ratings file (`::`, tabs or commas) in, interactions out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.readers._rows import literal, open_text, read_rows, workspace

__all__ = ["Movielens"]

_FIELDS = 4


@dataclass(frozen=True, kw_only=True)
class Movielens:
    """ratings.dat (`user::item::rating::time`), u.data (tabs) or ratings.csv (commas, header).

    Rows with a rating below `min_rating` are left out; the default keeps all, as SASRec does.
    """

    min_rating: Annotated[float, Field(ge=0)] = 0.0

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        assert path is not None
        with open_text(path) as file:
            first = file.readline().rstrip("\r\n")
        if not first:
            raise DataError(f"{path} is empty", "check the file")
        delimiter = next((d for d in ("::", "\t", ",") if len(first.split(d)) == _FIELDS), None)
        if delimiter is None:
            raise DataError(
                f"{path} is no MovieLens ratings file: its first line is {first[:60]!r}",
                "expected user::item::rating::time, or the same with tabs or commas",
            )
        header = not first.split(delimiter)[0].strip().isdigit()
        columns = "{'u': 'BIGINT', 'i': 'BIGINT', 'rating': 'DOUBLE', 't': 'BIGINT'}"
        form = (
            f"read_csv({literal(path)}, delim = {literal(delimiter)}, "
            f"header = {str(header).lower()}, auto_detect = false, columns = {columns})"
        )
        with workspace(path, into) as connection:
            return read_rows(
                connection,
                f"SELECT u, i, t FROM {form} WHERE rating >= {float(self.min_rating)!r}",
                source=path,
                into=into,
                stage=True,
            )
