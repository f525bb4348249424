"""A data set on this machine in, the same on another out: it travels once and stays there."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.spec import DataSpec

__all__ = ["DatasetTransfer", "pack", "unpack"]


@dataclass(frozen=True, kw_only=True)
class DatasetTransfer:
    """Files by their path below the data set's folder; `entry` is what `data.path` would name."""

    key: str
    entry: str
    files: dict[str, bytes]


def pack(data: DataSpec, key: str) -> DatasetTransfer | None:
    """The files behind `data.path`, None where it names none. `key` tells data sets apart."""
    from scalelab.core.errors import DataError
    from scalelab.datasets.locate import locate

    if data.path is None:
        return None
    try:
        location = locate(data.path)
    except DataError:
        return None  # the run will say it, on its own row
    source = location.path
    # A pattern of parts stands for files beside each other; a folder travels whole.
    files = [*source.rglob("*")] if source.is_dir() else location.parts
    files = [file for file in files if file.is_file()]
    # The folder's name is the data set's for `.../interactions.*`, so it goes along.
    root = source.parent if source.is_dir() else source.parent.parent
    if not all(file.is_relative_to(root) for file in files):
        return None  # a pattern over several folders is read where it lies
    return DatasetTransfer(
        key=key,
        entry=str(source.relative_to(root)),
        files={str(file.relative_to(root)): file.read_bytes() for file in files},
    )


def unpack(data: DataSpec, fetch: Callable[[], DatasetTransfer]) -> DataSpec:
    """`data` with a path that exists here; only where there is none is the transfer fetched."""
    from scalelab.core.errors import DataError
    from scalelab.datasets.locate import locate

    try:
        locate(data.path)
        return data
    except DataError:
        transfer = fetch()
    folder = Path(tempfile.gettempdir()) / f"scalelab-{os.getuid()}" / transfer.key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            whole = Path(draft) / "whole"
            for name, content in transfer.files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(content)
            try:
                whole.rename(folder)
            except OSError:
                if not folder.exists():  # else another run of this node was quicker
                    raise
    return data.model_copy(update={"path": str(folder / transfer.entry)})
