"""Turn what a person said about a data set into its spec."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.core.tables import checked
from scalelab.datasets.locate import form_of, locate, parts_of

__all__ = ["data_spec"]

# Suffixes that mean a format of their own; all else is a table with named columns.
_READERS = {".inter": "recbole", ".dat": "movielens", ".data": "movielens"}


def data_spec(file: str | Path | None, reader: str | None, settings: Mapping[str, Any]) -> DataSpec:
    """`file` read by `reader` (None: by its suffix), `settings` with or without `data.` before.

    Raises SpecError.
    """
    tables = {key.removeprefix("data."): value for key, value in settings.items()}
    usual = None
    if file is not None:
        tables["path"] = str(file)
        usual = _usual_reader(str(file))
    if reader is not None or (usual is not None and "reader" not in tables):
        tables["reader"] = reader or usual
    return checked(DataSpec, tables, "the data set").resolved()


def _usual_reader(file: str) -> str | None:
    try:
        first = parts_of(locate(file))[0]
    except (DataError, IndexError):
        first = Path(file)  # whoever reads it says what is missing
    form = form_of(first)
    return _of_text(first) if form == ".txt" else _READERS.get(form)


def _of_text(file: Path) -> str:
    """Interactions where the first word repeats over lines of few words, else one user a line."""
    try:
        with (
            gzip.open(file, "rt", errors="replace")
            if file.suffix == ".gz"
            else file.open(errors="replace") as lines
        ):
            words = [line.split() for line, _ in zip(lines, range(1000), strict=False)]
    except (OSError, EOFError):
        return "sequences"
    words = [line for line in words if line]
    widths = {len(line) for line in words}
    repeats = len({line[0] for line in words}) < len(words)
    return "lines" if repeats and len(widths) == 1 and widths <= {2, 3, 4} else "sequences"
