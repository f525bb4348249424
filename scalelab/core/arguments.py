"""Turn the arguments of the verbs into settings, folders and files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.whole_file import whole_file

__all__ = ["Settings", "make_folder", "overrides_of", "write_text"]

Settings = Mapping[str, Any] | Sequence[str] | None


def write_text(file: Path, text: str) -> None:
    """Write a file. Raises SpecError."""
    try:
        with whole_file(file) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "name a file in a folder that is there and can be written"
        raise SpecError(f"cannot write {file}: {error.strerror}", hint) from error


def make_folder(path: str | Path | None) -> Path | None:
    """The folder, made if there is none. Raises SpecError."""
    if path is None:
        return None
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the folder {path}: {error.strerror}") from error
    return Path(path)


def overrides_of(given: Settings, device: str | None = None) -> dict[str, Any]:
    """`{"batch.size": 256}` or `["batch.size=256"]` as the former, with the device if given."""
    from scalelab.core.locating import absolute
    from scalelab.core.toml_sections import parse_set

    pairs = given.items() if isinstance(given, Mapping) else map(parse_set, given or ())
    # A part's file on the command line is looked for in the working folder.
    return absolute(dict(pairs), Path.cwd()) | ({} if device is None else {"device.name": device})
