"""A path or the name of a data set in, the file or folder to read out."""

import os
from pathlib import Path

from scalelab.core.errors import DataError

__all__ = ["META", "locate"]

# The file that makes a folder a data set in compact form.
META = "meta.json"
_SUFFIXES = (
    ".parquet", ".csv", ".tsv", ".jsonl", ".inter", ".dat", ".txt",
    ".csv.gz", ".tsv.gz", ".jsonl.gz",
)  # fmt: skip


def locate(path: str | None, needed_by: str = "this reader") -> Path:
    """The file (or compact folder) that `path` means.

    A path that exists is taken as it is; else NAME is looked for under SCALELAB_DATA as a compact
    folder, NAME/interactions.parquet, NAME/NAME.parquet, NAME.parquet, and with other suffixes.
    Raises DataError naming what was searched.
    """
    if not path:
        raise DataError(f"{needed_by!r} needs data.path", "set data.path to a file or a name")
    here = Path(path).expanduser()
    roots = [here]
    data_root = os.environ.get("SCALELAB_DATA")
    if data_root and not here.is_absolute():
        roots.append(Path(data_root).expanduser() / path)
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
    return None
