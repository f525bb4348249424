"""What a person said about a data set in, its spec out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.spec import DataSpec
from scalelab.core.tables import checked

__all__ = ["data_spec"]

# Suffixes that mean a format of their own; all else is a table with named columns.
_READERS = {".inter": "recbole", ".dat": "movielens", ".txt": "sequences"}


def data_spec(file: str | Path | None, reader: str | None, settings: Mapping[str, Any]) -> DataSpec:
    """`file` read by `reader` (None: by its suffix), `settings` with or without `data.` before.

    Raises SpecError.
    """
    tables = {key.removeprefix("data."): value for key, value in settings.items()}
    usual = None
    if file is not None:
        tables["path"] = str(file)
        usual = _READERS.get(Path(file).suffix)
    if reader is not None or (usual is not None and "reader" not in tables):
        tables["reader"] = reader or usual
    return checked(DataSpec, tables, "the data set").resolved()
