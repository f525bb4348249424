"""Send the files of a data set to another node, once, and keep them there for later runs."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.private_folder import private_folder
from scalelab.core.spec import DataSpec

__all__ = ["DatasetTransfer", "pack", "unpack"]


@dataclass(frozen=True, kw_only=True)
class DatasetTransfer:
    """Files by their path below the data set's folder; `entry` is the one for `data.path`."""

    key: str
    entry: str
    files: dict[str, bytes]


def pack(data: DataSpec, key: str, beside: Path | None = None) -> DatasetTransfer | None:
    """The files of `data.path`, None where it names none. `key` is different for each data set.

    `beside` is one more file, which goes along where it lies in the folder of the data set.
    """
    from scalelab.core.errors import DataError
    from scalelab.datasets.locate import locate

    if data.path is None:
        return None
    try:
        location = locate(data.path)
    except DataError:
        return None  # the run fails with this error and stores it
    source = location.path
    # A pattern names files in one folder; of a folder all files are sent.
    files = [*source.rglob("*")] if source.is_dir() else location.parts
    files = [file for file in files if file.is_file()]
    # A file called interactions.* gives its data set the name of its folder: keep that.
    root = source.parent if source.is_dir() else source.parent.parent
    if beside is not None and beside.is_relative_to(root) and beside not in files:
        files.append(beside)
    if not all(file.is_relative_to(root) for file in files):
        return None  # a pattern over several folders must exist on the node itself
    return DatasetTransfer(
        key=key,
        entry=str(source.relative_to(root)),
        files={str(file.relative_to(root)): file.read_bytes() for file in files},
    )


def unpack(data: DataSpec, fetch: Callable[[], DatasetTransfer]) -> DataSpec:
    """`data` with a path that exists here; `fetch` is called only where none does."""
    from scalelab.core.errors import DataError
    from scalelab.datasets.locate import locate

    try:
        locate(data.path)
        return data
    except DataError:
        transfer = fetch()
    folder = private_folder() / transfer.key
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            whole = Path(draft) / "whole"
            for name, content in transfer.files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(content)
            try:
                whole.rename(folder)
            except OSError:
                if not folder.exists():  # else another run on this node has just written it
                    raise
    return data.model_copy(update={"path": str(folder / transfer.entry)})
