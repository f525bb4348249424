"""Find the file of item attributes that a run names, and compute the digest of what it holds."""

import gzip
import hashlib
import os
import zlib
from functools import lru_cache
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.identity import ATTRIBUTES
from scalelab.core.run_sections import DataSpec, ModelSpec

__all__ = [
    "attributes_digest",
    "attributes_file",
    "attributes_source",
    "find_attributes",
    "read_attributes",
]

FORMAT = '{"item": ["attribute", ...], ...}'


def attributes_file(data: DataSpec, model: ModelSpec) -> Path | None:
    """The file that the run names, None for a model that takes or names none.

    Raises SpecError where there is no such file.
    """
    name = str(model.options.get("attributes", ""))
    if not name or not getattr(plugins.load("models", model.name), "pretrains", False):
        return None
    return find_attributes(data.path, name)


def attributes_source(data: DataSpec, model: ModelSpec) -> dict[str, str]:
    """The digest of the run's file, by its key among the sources.

    Empty for a run without one, and where there is none yet: a run may be written down before its
    data are there.
    """
    try:
        file = attributes_file(data, model)
    except SpecError:
        return {}
    return {} if file is None else {ATTRIBUTES: attributes_digest(file)}


def find_attributes(data_path: str | None, name: str) -> Path:
    """The file `name` beside the data set or in its folder, else at that path. SpecError."""
    folders = [] if data_path is None else [Path(data_path), Path(data_path).expanduser()]
    root = os.environ.get("SCALELAB_DATA")
    if data_path is not None and root:
        folders.append(Path(root).expanduser() / data_path)
    beside = [place / name for folder in folders for place in (folder, folder.parent)]
    searched = list(dict.fromkeys([*beside, Path(name).expanduser()]))
    for file in searched:
        if file.is_file():
            return file
    raise SpecError(
        f"no file of item attributes {name!r}; searched {', '.join(map(str, searched))}",
        "give its path, or leave model.attributes out",
    )


def read_attributes(file: Path) -> bytes:
    """What the file holds, unpacked where its name ends in .gz. Raises SpecError."""
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"cannot read {file}: {error}", f"write JSON into it: {FORMAT}") from error


def attributes_digest(file: Path) -> str:
    """16 hex digits of what the file holds, packed or not. Raises SpecError."""
    state = file.stat()
    return _digest(file.absolute(), state.st_size, state.st_mtime_ns)


# The specs of a study name the same file; one that has changed is another.
@lru_cache(maxsize=16)
def _digest(file: Path, _size: int, _changed: int) -> str:
    return hashlib.blake2b(read_attributes(file), digest_size=8).hexdigest()
