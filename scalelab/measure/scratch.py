"""Run an operation and measure the temporary memory it allocates.

Temporaries of one operation never come past `__torch_dispatch__`. On a CPU torch's own profiler
records each allocation; its older variant is used, which starts in microseconds and writes
nothing to the terminal. On CUDA the caching allocator counts them.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.autograd import (
    ProfilerConfig,  # pyright: ignore[reportPrivateImportUsage]
    ProfilerState,  # pyright: ignore[reportPrivateImportUsage]
    _disable_profiler_legacy,  # noqa: PLC2701 # pyright: ignore
    _enable_profiler_legacy,  # noqa: PLC2701 # pyright: ignore
)
from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC2701

from scalelab.losses import before_tile

__all__ = ["observed", "observed_on_cuda", "peak_of", "product_bytes"]

_TILES_A_PIECE = 256
# A stand-in for a product has at most this many elements in each of its three matrices.
_MOST_ELEMENTS = 1 << 23


def observed(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
    """(result, most bytes on the CPU beyond what was alive before and what the result keeps).

    Raises RuntimeError if another profiler is active in this thread.
    """
    result, held, peak = _recorded(func, args, kwargs)
    return result, peak - held


def peak_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> int:
    """The most bytes on the CPU beyond what was alive before, while `func` runs.

    Raises RuntimeError if another profiler is active in this thread.
    """
    return _recorded(func, args, kwargs)[2]


def _recorded(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int, int]:
    """(result, bytes that are alive afterwards, bytes at the peak), both beyond those before."""
    record = _Record()
    token = before_tile.set(record.turn_page)
    with _no_collection():
        _enable_profiler_legacy(_config())
        try:
            result = func(*args, **kwargs)
        finally:
            before_tile.reset(token)
            record.read(_disable_profiler_legacy())
    return result, record.held, record.peak


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python collects no garbage: what was there before would count as given back."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _Record:
    """Bytes held and their peak. A step of many tiles is read in pieces: the profiler keeps a
    kilobyte of every operation, which for ten million items would be two gigabytes.
    """

    def __init__(self) -> None:
        self.held = self.peak = self._tiles = 0

    def turn_page(self) -> None:
        """Called before each tile: read what has been recorded now and then."""
        self._tiles += 1
        if self._tiles % _TILES_A_PIECE == 0:
            self.read(_disable_profiler_legacy())
            _enable_profiler_legacy(_config())

    def read(self, threads: list[list[Any]]) -> None:
        """Take in the events of a piece."""
        for events in threads:
            for event in events:
                if event.kind() == "memory_alloc":
                    self.held += event.cpu_memory_usage()
                    self.peak = max(self.peak, self.held)


def observed_on_cuda(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
) -> tuple[Any, int]:
    """The same on the current GPU, by the allocator's own count of requested bytes.

    It moves the peaks that `torch.cuda.max_memory_allocated` and the like return.
    """
    device = torch.cuda.current_device()
    with _no_collection():
        torch._C._cuda_resetPeakMemoryStats(device)
        result = func(*args, **kwargs)
        requested = torch._C._cuda_memoryStats(device)["requested_bytes"]["all"]
    return result, requested["peak"] - requested["current"]


def product_bytes(first: torch.Tensor, second: torch.Tensor) -> int:
    """What a product of matrices like these holds, found with zeros of their sizes and strides.

    oneDNN chooses its blocks by sizes, strides, threads and processor, by rules of its own: asking
    it is the only way to know. The answer is for this machine and torch's present threads.
    """
    turned = first.stride(-1) != 1, second.stride(-1) != 1
    shape = (*first.shape, second.size(-1))
    return _product_bytes(shape, first.dtype, turned, torch.get_num_threads())


@cache
def _config() -> Any:
    no = False
    extra = torch._C._profiler._ExperimentalConfig()  # pyright: ignore
    # In turn: shapes of inputs, memory, stacks, FLOPS, modules.
    return ProfilerConfig(ProfilerState.CPU, no, True, no, no, no, extra)


@cache
def _product_bytes(
    shape: tuple[int, ...], dtype: torch.dtype, turned: tuple[bool, bool], threads: int
) -> int:
    *batch, rows, inner, columns = shape
    count = batch[0] if batch else 1
    while max(rows * inner, inner * columns, rows * columns) * count > _MOST_ELEMENTS:
        most = max(count, rows, inner, columns)
        count, rows, inner, columns = (
            (size + 1) // 2 if size == most else size for size in (count, rows, inner, columns)
        )
    with _disable_current_modes(), torch.no_grad():
        first = _zeros((count, rows, inner), dtype, turned[0])
        second = _zeros((count, inner, columns), dtype, turned[1])
        if not batch:
            return observed(torch.mm, (first[0], second[0]), {})[1]
        return observed(torch.bmm, (first, second), {})[1]


def _zeros(shape: tuple[int, int, int], dtype: torch.dtype, turned: bool) -> torch.Tensor:
    count, rows, columns = shape
    if turned:
        return torch.zeros(count, columns, rows, dtype=dtype).transpose(1, 2)
    return torch.zeros(shape, dtype=dtype)
