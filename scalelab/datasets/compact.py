"""Write interactions as a compact folder of memory-mapped arrays, and open it again."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.leftovers import named, remove_leftovers, temporary_folder
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import META

__all__ = [
    "kept_item_ids",
    "kept_user_ids",
    "new_folder",
    "open_compact",
    "read_meta",
    "write_compact",
    "write_item_ids",
    "write_user_ids",
]

_FORMAT = "scalelab-compact"
_FIX = "convert the data again"
# The names of folders beside it while it is written.
_PARTIAL, _REPLACED = "-new-", "-old-"
_FORMAT_VERSION = 1
_ITEM_IDS, _USER_IDS = "item_ids.parquet", "user_ids.parquet"
_KEYS = (
    "num_users", "num_items", "num_interactions", "has_times", "time_is_order", "fingerprint",
    "dropped",
)  # fmt: skip
_TYPES = {"item_ids": np.int32, "offsets": np.int64, "times": np.int64}


def read_meta(folder: Path) -> dict[str, Any]:
    """What meta.json says of the arrays. Raises DataError for another program's file or version."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / META} cannot be read: {error}", _FIX) from error
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise DataError(
            f"{folder} is not a data set in compact format", "make one: scalelab data convert"
        )
    if meta.get("version") != _FORMAT_VERSION:
        raise DataError(
            f"{folder} has version {meta.get('version')} of the format, not {_FORMAT_VERSION}",
            _FIX,
        )
    for key in _KEYS:
        if key not in meta:
            raise DataError(f"{folder / META} lacks the key {key!r}", _FIX)
    return meta


def open_compact(folder: Path, meta: dict[str, Any]) -> Interactions:
    """The interactions, memory-mapped and read-only; `meta` is what `read_meta` gave.

    Raises DataError where the files do not agree.
    """
    sizes = {"item_ids": meta["num_interactions"], "offsets": meta["num_users"] + 1}
    if meta["has_times"]:
        sizes["times"] = meta["num_interactions"]
    arrays: dict[str, np.ndarray] = {}
    for name, size in sizes.items():
        try:
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / name}.npy cannot be read: {error}", _FIX) from error
        if array.shape != (size,) or array.dtype != _TYPES[name]:
            raise DataError(
                f"{folder / name}.npy holds {array.dtype} {array.shape}, and {META} says "
                f"{size} values",
                _FIX,
            )
        arrays[name] = array
    if meta.get("has_item_ids") and not (folder / _ITEM_IDS).is_file():
        raise DataError(
            f"{folder} has lost {_ITEM_IDS}, which says what its items are called", _FIX
        )
    offsets, item_ids = arrays["offsets"], arrays["item_ids"]
    if offsets[0] != 0 or offsets[-1] != len(item_ids) or (np.diff(offsets) < 0).any():
        raise DataError(f"{folder}/offsets.npy does not fit item_ids.npy", _FIX)
    lowest, highest = int(item_ids.min()), int(item_ids.max())
    if lowest < 1 or highest > meta["num_items"]:
        raise DataError(
            f"{folder}: item ids reach from {lowest} to {highest}, not 1 to {meta['num_items']}",
            _FIX,
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
        columns=meta.get("columns", {}),
        times_read_as=meta.get("times_read_as", ""),
        find_original_ids=_find_in(folder),
    )


def write_compact(interactions: Interactions, folder: Path) -> None:
    """Writes arrays and meta.json; arrays that lie in the folder already stay where they are.

    The options of the model that generated the data go along, so that its oracle is found again.
    """
    oracle = interactions.oracle
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
        "has_item_ids": interactions.find_original_ids is not None,
        "time_is_order": interactions.time_is_order,
        "time_unit": interactions.time_unit,
        "columns": interactions.columns,
        "times_read_as": interactions.times_read_as,
        "fingerprint": interactions.fingerprint,
        "dropped": interactions.dropped,
        "synthetic": None if oracle is None else oracle.options,
    }
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def write_item_ids(interactions: Interactions, folder: Path) -> None:
    """Writes item_ids.parquet: the file's own id of each item, where there are such ids."""
    # DuckDB is loaded only where something is to be read or written with it.
    from scalelab.datasets.readers._original_ids import write_original_ids

    if interactions.find_original_ids is not None:
        write_original_ids(interactions.find_original_ids(), folder)


def kept_item_ids(folder: Path) -> np.ndarray | None:
    """What `write_item_ids` wrote: the own ids of items 1, 2, ...; None where there is no file."""
    find = _find_in(folder)
    return None if find is None else find()


def write_user_ids(user_ids: np.ndarray, folder: Path) -> None:
    """Writes user_ids.parquet: the own id of each user with a training history, in order."""
    from scalelab.datasets.readers._original_ids import write_original_ids

    write_original_ids(user_ids, folder, of="user")


def kept_user_ids(folder: Path) -> np.ndarray | None:
    """What `write_user_ids` wrote; None where there is no file."""
    find = _find_in(folder, _USER_IDS)
    return None if find is None else find()


def _find_in(folder: Path, name: str = _ITEM_IDS) -> Callable[[], np.ndarray] | None:
    def find() -> np.ndarray:
        from scalelab.datasets.readers._original_ids import read_original_ids

        return read_original_ids(folder / name)

    return find if (folder / name).is_file() else None


def _lies_at(array: np.ndarray, path: Path) -> bool:
    filename = getattr(array, "filename", None)
    return filename is not None and Path(filename) == path.resolve()


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when all went well, and is removed when not.

    An earlier data set in compact format is replaced; anything else at `out` is refused. What
    killed processes left beside it is removed. Raises DataError.
    """
    is_ours = (out / META).is_file()
    if out.exists() and not is_ours and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(
            f"{out} exists and is not a data set in compact format", "choose another folder"
        )
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            _put_back(out)
            remove_leftovers(out.parent, f".{out.name}{_REPLACED}")
            prefix = f".{out.name}{_PARTIAL}"
            partial = stack.enter_context(temporary_folder(prefix, out.parent))
        except OSError as error:
            raise DataError(f"{out} cannot be written: {error}", "choose another folder") from error
        yield partial
        partial.chmod(0o755)
        if not out.exists():
            partial.replace(out)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}{_REPLACED}", dir=out.parent))
        out.replace(old)
        partial.replace(out)
        shutil.rmtree(old)


def _put_back(out: Path) -> None:
    """Undoes a replacement that was killed when the old folder was gone and the new not there."""
    for old in named(out.parent, f".{out.name}{_REPLACED}"):
        if (old / META).is_file() and not out.exists():
            old.replace(out)
