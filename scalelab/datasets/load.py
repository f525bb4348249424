"""Load what a data spec asks for: interactions, fingerprint, split and lengths."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.spec import DataSpec
from scalelab.datasets._folder import is_compact, open_compact, read_meta
from scalelab.datasets.filters import keep_core
from scalelab.datasets.global_time import global_time, moment
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import locate, parts_of
from scalelab.datasets.order import arrange
from scalelab.datasets.splits import HeldOut, Split, leave_one_out, split_lengths, temporal

__all__ = ["LengthsOnly", "fingerprint", "lengths", "load", "split", "synthetic_options"]

# Raised when a reader or filter would give other interactions for the same file.
_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class LengthsOnly:
    """What a planner needs: lengths (int64) of train, validation and test histories, and counts.

    `num_eval_users` is how many of the test users are evaluated (`data.max_eval_users` applied).
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    num_items: int
    num_users: int
    num_eval_users: int


def load(data: DataSpec, into: Path | None = None) -> Interactions:
    """Reads and filters. `into` is a folder for arrays larger than memory.

    Raises DataError, SpecError.
    """
    interactions, source = _read(data, into)
    interactions = arrange(interactions, ties=data.ties, drop=data.drop)
    interactions = keep_core(
        interactions, min_item_count=data.min_item_count, min_user_count=data.min_user_count
    )
    return replace(interactions, fingerprint=_filtered(source, data))


def fingerprint(data: DataSpec) -> str:
    """16 hex digits: ids as text and times in UTC in the order of the file, and the filters.

    Neither where the file lies nor its form counts. A generator has that of its options, a compact
    form that of what it was made from. Raises DataError, SpecError.
    """
    path = _path(data)
    if path is not None and is_compact(path):
        source = str(read_meta(path)["fingerprint"])
    elif path is None:
        source = _digest([_VERSION, data.reader, _checked(data)])
    else:
        key = _key(data, path)
        if key not in _SOURCES:
            # Whoever asks for the fingerprint loads the data next.
            _AHEAD.clear()
            _AHEAD[key] = _read(data, None)[0]
        source = _SOURCES[key]
    return _filtered(source, data)


# Digests of what was read, by file, size, time of change and options: a file is read once.
_SOURCES: dict[str, str] = {}
# The data set that was read last for its fingerprint alone, until it is loaded.
_AHEAD: dict[str, Interactions] = {}


def _read(data: DataSpec, into: Path | None) -> tuple[Interactions, str]:
    path = _path(data)
    if path is not None and is_compact(path):
        interactions = open_compact(path)
        return interactions, interactions.fingerprint
    if path is None:
        return _reader(data).read(path, into), _digest([_VERSION, data.reader, _checked(data)])
    key = _key(data, path)
    if into is None and key in _AHEAD:
        return _AHEAD.pop(key), _SOURCES[key]
    interactions = _reader(data).read(path, into)
    # A reader from elsewhere may say nothing of what it read; then the files' bytes count.
    held = interactions.fingerprint or [data.reader, _checked(data), *map(_content, parts_of(path))]
    _SOURCES[key] = _digest([_VERSION, held])
    return interactions, _SOURCES[key]


def _key(data: DataSpec, path: Path) -> str:
    facts = [(str(part.resolve()), part.stat()) for part in parts_of(path)]
    known = [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]
    return json.dumps([known, data.reader, _checked(data)])


def _filtered(source: str, data: DataSpec) -> str:
    if (data.ties, data.drop) != ("file", "none"):
        source = _digest([source, data.ties, data.drop])
    if data.min_item_count <= 1 and data.min_user_count <= 1:
        return source
    return _digest([source, max(data.min_item_count, 1), max(data.min_user_count, 1)])


def split(interactions: Interactions, data: DataSpec) -> Split:
    """The split that `data` asks for. Raises DataError where the data do not allow it."""
    if data.split == "global_time":
        # Without a cut of its own the split stands where the temporal one does.
        cut = data.quantile if data.cut == "" else data.cut
        return global_time(interactions, cut, data.valid_cut)
    if data.split == "temporal":
        # Interactions at the cut itself belong to the test side, as in global_time.
        last = None if data.cut == "" else moment(interactions, data.cut, "cut") - 1
        return temporal(interactions, data.quantile, last)
    parts = leave_one_out(interactions)
    generator = _generator(data)
    if generator is None or interactions.dropped:
        return parts
    test = _evenly(parts.test, data.max_eval_users)
    return replace(
        parts,
        find_oracle=lambda: generator.oracle_ndcg(interactions, test, data.exclude_seen),
    )


def lengths(data: DataSpec) -> LengthsOnly:
    """Lengths after filter and split. Draws no synthetic item unless a filter needs them."""
    unfiltered = data.min_item_count <= 1 and data.min_user_count <= 1 and data.drop == "none"
    generator = _generator(data)
    if generator is not None and unfiltered and data.split == "leave_one_out":
        whole = generator.lengths()
        train, valid, test = split_lengths(whole)
        num_items, num_users = generator.num_items, len(whole)
    else:
        interactions = load(data)
        parts = split(interactions, data)
        train = parts.train.lengths
        valid, test = parts.valid.histories.lengths, parts.test.histories.lengths
        num_items, num_users = interactions.num_items, interactions.num_users
    return LengthsOnly(
        train=train,
        valid=valid,
        test=test,
        num_items=num_items,
        num_users=num_users,
        num_eval_users=min(data.max_eval_users or len(test), len(test)),
    )


def synthetic_options(data: DataSpec) -> dict[str, Any] | None:
    """The generator's options, also where its data are read from a compact form; else None."""
    path = _path(data)
    if path is not None and is_compact(path):
        return read_meta(path).get("synthetic")
    return _checked(data) if data.reader == "synthetic" else None


def _generator(data: DataSpec) -> Any:
    options = synthetic_options(data)
    return None if options is None else plugins.load("readers", "synthetic")(**options)


def _evenly(held_out: HeldOut, count: int) -> HeldOut:
    """The users that are evaluated, so that oracle and model rank the same targets."""
    if not 0 < count < len(held_out):
        return held_out
    chosen = np.linspace(0, len(held_out) - 1, count).astype(np.int64)
    whole = held_out.histories
    histories = replace(whole, starts=whole.starts[chosen], ends=whole.ends[chosen])
    targets, users = held_out.targets[chosen], held_out.users[chosen]
    return replace(held_out, histories=histories, targets=targets, users=users)


def _path(data: DataSpec) -> Path | None:
    if plugins.load("readers", data.reader).needs_path:
        return locate(data.path, data.reader)
    if data.path is None:
        return None
    path = locate(data.path, data.reader)
    if not is_compact(path):
        raise SpecError(
            f"the reader {data.reader!r} reads no file, data.path = {data.path!r}",
            "leave data.path out, or name the reader of that file",
        )
    return path


def _reader(data: DataSpec) -> Any:
    return plugins.load("readers", data.reader)(**_checked(data))


def _checked(data: DataSpec) -> dict[str, Any]:
    return plugins.check_options("readers", data.reader, data.options)


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
