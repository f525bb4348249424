"""Find the file, the folder of parts or the compact format that a path or a name means."""

import difflib
import errno
import glob
import os
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError

__all__ = ["META", "Location", "locate"]

# The file that makes a folder a data set in compact format.
META = "meta.json"
_FORMATS = (
    ".parquet", ".csv", ".tsv", ".jsonl", ".inter", ".dat", ".txt", ".json", ".ndjson", ".pq",
    ".data",
)  # fmt: skip
_PACKED = ("", ".gz", ".zst")
_SUFFIXES = tuple(name + packed for packed in _PACKED for name in _FORMATS)


@dataclass(frozen=True, kw_only=True)
class Location:
    """What a path means: `path` is a file, a folder of parts, a pattern or a compact folder.

    `parts` are the files to read, in the order of their names; a compact folder has none. `format`
    is their common suffix in small letters, `.csv` for `rows.csv.gz`.
    """

    path: Path
    parts: tuple[Path, ...]
    format: str = ""

    @property
    def is_compact(self) -> bool:
        """Whether this is a folder in compact format."""
        return not self.parts

    def __str__(self) -> str:
        return str(self.path)


def locate(path: str | None, needed_by: str = "this reader") -> Location:
    """What `path` means.

    A path that exists is taken as it is, also with stars and brackets in it; else one with them is
    a pattern of parts; else NAME is looked for under SCALELAB_DATA as a compact folder,
    NAME/interactions.parquet, NAME/NAME.parquet, NAME.parquet, and with other suffixes. A folder
    with none of these whose files have one format holds the parts of a data set.
    Raises DataError naming what was searched.
    """
    if not path:
        raise DataError(f"{needed_by!r} needs data.path", "set data.path to a file or a name")
    # What is called ~ is that; only else is it a home folder.
    roots = list(dict.fromkeys([Path(path), _expanded(path)]))
    data_root = os.environ.get("SCALELAB_DATA")
    if data_root and not roots[-1].is_absolute():
        roots.append(_expanded(data_root) / path)
    for root in roots:
        found = _inside(root)
        if found is not None:
            return found
    searched = ", ".join(str(root) for root in roots)
    if any(_is_dir(root) for root in roots):
        hint = (
            f"put interactions.parquet (or {', '.join(_SUFFIXES[1:5])}) into it, or name the file"
        )
        raise DataError(f"no data set in the folder {path!r}; searched {searched}", hint)
    hint = "give the path of a file"
    if data_root:
        there = sorted(
            found.name
            for found in _expanded(data_root).glob("*")
            if _is_dir(found) or _format_of(found) in _SUFFIXES
        )
        close = difflib.get_close_matches(path, there, n=1)
        hint = f"did you mean {close[0]!r}?" if close else hint
        hint += f"; in SCALELAB_DATA there are: {', '.join(there)}" if len(there) < 20 else ""
    else:
        hint += ", or set SCALELAB_DATA to the folder of your data sets"
    raise DataError(f"no data set at {path!r}; searched {searched}", hint)


def _format_of(path: Path) -> str:
    name = path.name.lower()
    for packed in _PACKED[1:]:
        name = name.removesuffix(packed)
    return Path(name).suffix


def _expanded(path: str) -> Path:
    # ~x means a file of that name where there is no user x.
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _inside(root: Path) -> Location | None:
    if _is_file(root):
        return _file(root)
    if _is_file(root / META):
        return Location(path=root, parts=())
    for stem in ("interactions", root.name):
        for suffix in _SUFFIXES:
            if _is_file(root / f"{stem}{suffix}"):
                return _file(root / f"{stem}{suffix}")
    for suffix in _SUFFIXES:
        if _is_file(root.parent / f"{root.name}{suffix}"):
            return _file(root.parent / f"{root.name}{suffix}")
    if _is_dir(root):
        # Files that begin with _ or . are the marks of whoever wrote the parts.
        return _of_parts(
            root,
            [
                file
                for file in root.rglob("*")
                if not any(part.startswith(("_", ".")) for part in file.relative_to(root).parts)
                and _format_of(file) in _FORMATS
                and file.name != "card.json"
            ],
        )
    if any(sign in str(root) for sign in "*?["):
        return _of_parts(root, [Path(name) for name in glob.glob(str(root), recursive=True)])
    return None


def _file(path: Path) -> Location:
    return Location(path=path, parts=(path,), format=_format_of(path))


def _of_parts(root: Path, found: list[Path]) -> Location | None:
    """The files among `found` as parts of one data set, None where there are none."""
    files = sorted(file for file in found if file.is_file())
    formats = sorted({_format_of(file) for file in files})
    if len(formats) > 1:
        raise DataError(
            f"{root} holds files of several formats: {', '.join(formats)}",
            f"name those that are meant: {root}/*{formats[0]}",
        )
    return Location(path=root, parts=tuple(files), format=formats[0]) if files else None


def _is_file(path: Path) -> bool:
    return _exists(path) and path.is_file()


def _is_dir(path: Path) -> bool:
    return _exists(path) and path.is_dir()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # no file can be called so
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the path") from error
