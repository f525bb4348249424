"""Build an array from chunks, in memory or as a .npy file that is memory-mapped afterwards."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

__all__ = ["ArraySink", "new_array"]


class ArraySink:
    """Takes exactly `size` values in order; `path` None keeps them in memory.

    Files are written and not mapped while they grow, so that no dirty page counts as ours.
    """

    def __init__(self, size: int, dtype: type[np.generic], path: Path | None) -> None:
        self._dtype = np.dtype(dtype)
        self._path = path
        self._filled = 0
        self._file: BinaryIO | None = None
        self._array = np.empty(size if path is None else 0, dtype=dtype)
        if path is not None:
            self._file = path.open("wb")
            header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype=dtype))
            np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (size,)})

    def append(self, values: np.ndarray) -> None:
        """The next values, cast to the array's type."""
        values = np.ascontiguousarray(values, dtype=self._dtype)
        if self._file is not None:
            values.tofile(self._file)
        else:
            self._array[self._filled : self._filled + len(values)] = values
        self._filled += len(values)

    def finish(self) -> np.ndarray:
        """The whole array; read-only and memory-mapped where it is a file."""
        if self._file is None or self._path is None:
            return self._array
        self._file.close()
        return np.load(self._path, mmap_mode="r")


def new_array(size: int, dtype: type[np.generic], path: Path | None) -> np.ndarray:
    """An array to fill in any order; `path` makes it a memory-mapped .npy file."""
    if path is None:
        return np.empty(size, dtype=dtype)
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
