"""Turn a file, a reader's name and settings, as a person types them, into a data set."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.spec import DataSpec
from scalelab.core.toml_sections import checked
from scalelab.datasets.load import Dataset
from scalelab.datasets.locate import Location, locate
from scalelab.datasets.sources import resolve

__all__ = ["request"]

# So many characters of a line show whether it holds an interaction or a user's history.
_LONGEST_LINE = 1 << 16
# Suffixes that mean a format of their own; all else is a table with named columns.
_READERS = {".inter": "recbole", ".dat": "movielens", ".data": "movielens"}


def request(file: str | Path | None, reader: str | None, settings: Mapping[str, Any]) -> Dataset:
    """`file` read by `reader` (None: by its suffix), `settings` with or without `data.` before.

    Raises DataError and SpecError.
    """
    options = {key.removeprefix("data."): value for key, value in settings.items()}
    if reader is not None:
        options["reader"] = reader
    location = None
    if file is not None:
        options["path"] = str(file)
        location = locate(options["path"], options.get("reader", "table"))
        usual = _usual_reader(location)
        if usual is not None:
            options.setdefault("reader", usual)
    data = checked(DataSpec, options, "the data set").resolved()
    return Dataset(data, resolve(data, location))


def _usual_reader(location: Location) -> str | None:
    if location.format == ".txt":
        return _of_text(location.parts[0])
    return _READERS.get(location.format)


def _of_text(file: Path) -> str:
    """Interactions where the first word repeats over lines of few words, else one user per line."""
    try:
        with (
            gzip.open(file, "rt", errors="replace")
            if file.suffix == ".gz"
            else file.open(errors="replace") as lines
        ):
            begun = [lines.readline(_LONGEST_LINE) for _ in range(1000)]
            words = [line.removeprefix("\ufeff").split() for line in begun]
    except (OSError, EOFError):
        return "sequences"
    words = [line for line in words if line]
    widths = {len(line) for line in words}
    repeats = len({line[0] for line in words}) < len(words)
    return "lines" if repeats and len(widths) == 1 and min(widths) > 1 else "sequences"
