"""Find the file, the folder of parts or the compact form that a path or a name means."""

import glob
import os
from pathlib import Path

from scalelab.core.errors import DataError

__all__ = ["META", "form_of", "locate", "parts_of"]

# The file that makes a folder a data set in compact form.
META = "meta.json"
_FORMS = (
    ".parquet", ".csv", ".tsv", ".jsonl", ".inter", ".dat", ".txt", ".json", ".ndjson", ".pq",
    ".data",
)  # fmt: skip
_PACKED = ("", ".gz", ".zst")
_SUFFIXES = tuple(form + packed for packed in _PACKED for form in _FORMS)


def locate(path: str | None, needed_by: str = "this reader") -> Path:
    """The file, folder of parts, pattern or compact folder that `path` means.

    A path that exists is taken as it is, also with stars and brackets in it; else one with them is
    a pattern of parts; else NAME is looked for under SCALELAB_DATA as a compact folder,
    NAME/interactions.parquet, NAME/NAME.parquet, NAME.parquet, and with other suffixes. A folder
    with none of these whose files have one form holds the parts of a data set.
    Raises DataError naming what was searched.
    """
    if not path:
        raise DataError(f"{needed_by!r} needs data.path", "set data.path to a file or a name")
    here = _home(path)
    roots = [here]
    data_root = os.environ.get("SCALELAB_DATA")
    if data_root and not here.is_absolute():
        roots.append(_home(data_root) / path)
    for root in roots:
        found = _inside(root)
        if found is not None:
            return found
    searched = ", ".join(str(root) for root in roots)
    if any(root.is_dir() for root in roots):
        hint = (
            f"put interactions.parquet (or {', '.join(_SUFFIXES[1:5])}) into it, or name the file"
        )
        raise DataError(f"no data set in the folder {path!r}; searched {searched}", hint)
    hint = "give the path of a file"
    hint += "" if data_root else ", or set SCALELAB_DATA to the folder of your data sets"
    raise DataError(f"no data set at {path!r}; searched {searched}", hint)


def form_of(path: Path) -> str:
    """The suffix that tells the form, `.csv` for `rows.csv.gz`, in small letters."""
    name = path.name.lower()
    for packed in _PACKED[1:]:
        name = name.removesuffix(packed)
    return Path(name).suffix


def parts_of(path: Path) -> list[Path]:
    """The files behind what `locate` gave, in the order of their names.

    Raises DataError where they have several forms.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        # Files that begin with _ or . are the marks of whoever wrote the parts.
        files = [
            file
            for file in path.rglob("*")
            if file.is_file()
            and not any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)
            and form_of(file) in _FORMS
            and file.name != "card.json"
        ]
    else:
        files = [Path(name) for name in glob.glob(str(path), recursive=True)]
        files = [file for file in files if file.is_file()]
    forms = sorted({form_of(file) for file in files})
    if len(forms) > 1:
        raise DataError(
            f"{path} holds files of several forms: {', '.join(forms)}",
            f"name those that are meant: {path}/*{forms[0]}",
        )
    return sorted(files)


def _home(path: str) -> Path:
    # A name such as ~x, of which there is no such user, is a name.
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _inside(root: Path) -> Path | None:
    if root.is_file() or (root / META).is_file():
        return root
    for stem in ("interactions", root.name):
        for suffix in _SUFFIXES:
            if (root / f"{stem}{suffix}").is_file():
                return root / f"{stem}{suffix}"
    for suffix in _SUFFIXES:
        if (root.parent / f"{root.name}{suffix}").is_file():
            return root.parent / f"{root.name}{suffix}"
    if root.is_dir() or any(sign in str(root) for sign in "*?["):
        return root if parts_of(root) else None
    return None
