"""Write interactions as a folder of memory-mapped arrays, and open it again."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import META

__all__ = [
    "is_compact",
    "new_folder",
    "open_compact",
    "read_meta",
    "write_compact",
    "write_item_ids",
]

_FORMAT = "scalelab-compact"
_MEND = "convert the data again"
_FORMAT_VERSION = 1
_ITEM_IDS = "item_ids.parquet"
_FACTS = (
    "num_users", "num_items", "num_interactions", "has_times", "time_is_order", "fingerprint",
    "dropped",
)  # fmt: skip
_TYPES = {"item_ids": np.int32, "offsets": np.int64, "times": np.int64}


def is_compact(path: Path) -> bool:
    """Whether `path` is a folder in compact form."""
    return path.is_dir() and (path / META).is_file()


def read_meta(folder: Path) -> dict[str, Any]:
    """Facts beside the arrays. Raises DataError where they are not ours or of another version."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / META} cannot be read: {error}", _MEND) from error
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise DataError(
            f"{folder} is no data set in compact form", "make one: scalelab data convert"
        )
    if meta.get("version") != _FORMAT_VERSION:
        raise DataError(
            f"{folder} has version {meta.get('version')} of the form, not {_FORMAT_VERSION}",
            _MEND,
        )
    for key in _FACTS:
        if key not in meta:
            raise DataError(f"{folder / META} says nothing of {key!r}", _MEND)
    return meta


def open_compact(folder: Path) -> Interactions:
    """The interactions, memory-mapped and read-only. Raises DataError where files do not agree."""
    meta = read_meta(folder)
    sizes = {"item_ids": meta["num_interactions"], "offsets": meta["num_users"] + 1}
    if meta["has_times"]:
        sizes["times"] = meta["num_interactions"]
    arrays: dict[str, np.ndarray] = {}
    for name, size in sizes.items():
        try:
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / name}.npy cannot be read: {error}", _MEND) from error
        if array.shape != (size,) or array.dtype != _TYPES[name]:
            raise DataError(
                f"{folder / name}.npy holds {array.dtype} {array.shape}, {META} says {size} values",
                _MEND,
            )
        arrays[name] = array
    offsets, item_ids = arrays["offsets"], arrays["item_ids"]
    if offsets[0] != 0 or offsets[-1] != len(item_ids) or (np.diff(offsets) < 0).any():
        raise DataError(f"{folder}/offsets.npy does not lead through item_ids.npy", _MEND)
    lowest, highest = int(item_ids.min()), int(item_ids.max())
    if lowest < 1 or highest > meta["num_items"]:
        raise DataError(
            f"{folder}: item ids reach from {lowest} to {highest}, not 1 to {meta['num_items']}",
            _MEND,
        )
    return Interactions(
        item_ids=item_ids,
        offsets=offsets,
        times=arrays.get("times"),
        num_items=meta["num_items"],
        time_is_order=meta["time_is_order"],
        fingerprint=meta["fingerprint"],
        dropped=meta["dropped"],
        time_unit=meta.get("time_unit", ""),
        find_labels=_labels_in(folder),
    )


def write_compact(
    interactions: Interactions, folder: Path, synthetic: dict[str, Any] | None = None
) -> None:
    """Writes the folder at once or not at all; arrays that lie in it already stay where they are.

    `synthetic` holds the generator's options, by which the oracle is found again.
    """
    arrays = {
        "item_ids": interactions.item_ids,
        "offsets": interactions.offsets,
        "times": interactions.times,
    }
    for name, array in arrays.items():
        if array is None:
            (folder / f"{name}.npy").unlink(missing_ok=True)
        elif not _lies_at(array, folder / f"{name}.npy"):
            beside = folder / f"{name}.new.npy"
            np.save(beside, array, allow_pickle=False)
            beside.replace(folder / f"{name}.npy")
        elif isinstance(array, np.memmap) and array.mode != "r":
            array.flush()
    write_item_ids(interactions, folder)
    meta = {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "num_users": interactions.num_users,
        "num_items": interactions.num_items,
        "num_interactions": interactions.num_interactions,
        "has_times": interactions.times is not None,
        "time_is_order": interactions.time_is_order,
        "time_unit": interactions.time_unit,
        "fingerprint": interactions.fingerprint,
        "dropped": interactions.dropped,
        "synthetic": synthetic,
    }
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def write_item_ids(interactions: Interactions, folder: Path) -> None:
    """Writes item_ids.parquet: the file's own id of each item, where there are such ids."""
    # DuckDB is loaded only where something is to be read or written with it.
    from scalelab.datasets.readers._labels import write_labels

    if interactions.find_labels is not None:
        write_labels(interactions.find_labels(), folder)


def _labels_in(folder: Path) -> Callable[[], np.ndarray] | None:
    def find() -> np.ndarray:
        from scalelab.datasets.readers._labels import read_labels

        return read_labels(folder / _ITEM_IDS)

    return find if (folder / _ITEM_IDS).is_file() else None


def _lies_at(array: np.ndarray, path: Path) -> bool:
    filename = getattr(array, "filename", None)
    return filename is not None and Path(filename) == path.resolve()


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when all went well, and is removed when not.

    An earlier data set in compact form is replaced; anything else at `out` is refused.
    Raises DataError.
    """
    if out.exists() and not is_compact(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists and is no data set in compact form", "choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}", "choose another folder") from error
    try:
        yield partial
        partial.chmod(0o755)
        if out.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
            out.replace(old)
            partial.replace(out)
            shutil.rmtree(old)
        else:
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
