"""Resolve where a data set comes from: a compact folder, files of a reader, or a generative model.

A request is resolved once; its source then says what it holds (`fingerprint`), reads it (`read`),
knows lengths without reading items where it can (`lengths`), and the model that generated it, if
any (`oracle`).
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.spec import DataSpec
from scalelab.datasets.compact import open_compact, read_meta
from scalelab.datasets.interactions import Interactions, Oracle
from scalelab.datasets.locate import Location, locate

__all__ = ["DataSource", "SourceLengths", "digest", "resolve"]

# The name by which `data.reader` chooses the generative model.
_SYNTHETIC = "synthetic"
# Raised when a reader or filter would give other interactions for the same file.
_VERSION = 2


class SourceLengths(NamedTuple):
    """Lengths (int64) of all users' histories before filters, the size of the catalog, and whether
    the items are memory-mapped from files."""

    lengths: np.ndarray
    num_items: int
    is_mapped: bool


class DataSource(Protocol):
    """Where the interactions of a data set come from, before filters and splits."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits of what the source holds. Raises DataError."""
        ...

    @property
    def oracle(self) -> Oracle | None:
        """The model that generated the data, where they were generated."""
        ...

    def read(self, into: Path | None = None) -> Interactions:
        """All interactions. `into` takes arrays larger than memory. Raises DataError."""
        ...

    def lengths(self) -> SourceLengths | None:
        """Lengths, where they are known without reading or drawing items."""
        ...


def resolve(data: DataSpec, location: Location | None = None) -> DataSource:
    """The source that `data` names; `location` spares looking for `data.path` again.

    Raises DataError and SpecError.
    """
    options = plugins.check_options("readers", data.reader, data.options)
    if data.reader == _SYNTHETIC and data.path is None:
        return _Generated(options)
    location = location or locate(data.path, data.reader)
    if location.is_compact:
        return _CompactFolder(location.path)
    if data.reader == _SYNTHETIC:
        raise SpecError(
            f"data.reader = {data.reader!r} generates data and reads no file, but "
            f"data.path = {data.path!r}",
            "add --set data.reader=table (see: scalelab list readers), or leave data.path out",
        )
    return _Files(data.reader, options, location)


class _Generated:
    """Data drawn from a generative model; its options are all there is to know."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.oracle = plugins.made("readers", _SYNTHETIC, **options)
        self.fingerprint = digest([_VERSION, _SYNTHETIC, options])

    def read(self, into: Path | None = None) -> Interactions:
        return self.oracle.generate(into)

    def lengths(self) -> SourceLengths:
        return SourceLengths(self.oracle.lengths(), self.oracle.num_items, is_mapped=False)


class _CompactFolder:
    """A folder that `scalelab data convert` or `synthesize` wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._meta = read_meta(folder)
        self.fingerprint = str(self._meta["fingerprint"])
        options = self._meta.get("synthetic")
        self.oracle = None if options is None else plugins.made("readers", _SYNTHETIC, **options)

    def read(self, into: Path | None = None) -> Interactions:
        return replace(open_compact(self._folder, self._meta), oracle=self.oracle)

    def lengths(self) -> SourceLengths | None:
        if self.oracle is None:
            return None
        return SourceLengths(self.oracle.lengths(), self.oracle.num_items, is_mapped=True)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Interactions that were read for their fingerprint alone, by the state of their files."""

    key: str
    interactions: Interactions


# Fingerprints by file, size, time of change and options: in one process a file is read for it once.
_FINGERPRINTS: dict[str, str] = {}
# What was read last for its fingerprint, until it is loaded: whoever needs one loads it next.
_LAST_READ: list[_Read] = []


class _Files:
    """Files that a reader reads."""

    oracle = None

    def __init__(self, reader: str, options: dict[str, Any], location: Location) -> None:
        self._identity = [reader, options]
        self._reader = plugins.load("readers", reader)(**options)
        self._location = location
        # Before anything is read: files that change meanwhile are other files.
        states = [(str(part.resolve()), part.stat()) for part in location.parts]
        known = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
        self._key = json.dumps([known, *self._identity])

    @property
    def fingerprint(self) -> str:
        if self._key not in _FINGERPRINTS:
            _LAST_READ[:] = [_Read(key=self._key, interactions=self._read(None))]
        return _FINGERPRINTS[self._key]

    def read(self, into: Path | None = None) -> Interactions:
        if into is None and _LAST_READ and _LAST_READ[0].key == self._key:
            return _LAST_READ.pop().interactions
        return self._read(into)

    def lengths(self) -> None:
        return None

    def _read(self, into: Path | None) -> Interactions:
        interactions = self._reader.read(self._location, into)
        # A reader from elsewhere may say nothing of what it read; then the files' bytes count.
        held = interactions.fingerprint or [
            *self._identity,
            *map(_digest_of_file, self._location.parts),
        ]
        _FINGERPRINTS[self._key] = digest([_VERSION, held])
        return interactions


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def digest(value: Any) -> str:
    """16 hex digits of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
