"""Measure the memory of any training step of any PyTorch model: a context manager."""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer

from scalelab.any_model.memory import StepMemory, step_memory
from scalelab.any_model.module_account import ModuleAccount
from scalelab.core.errors import SpecError
from scalelab.measure.scratch import observed_on_cuda

__all__ = ["StepAccount", "check_parts", "one_account"]

# Hooks are torch's global ones, so two accounts would follow one another's modules.
_ONE_AT_A_TIME = threading.Lock()
_COMPILED = "code made by torch.compile ran, and what it allocates inside is not counted"


@contextmanager
def one_account() -> Iterator[None]:
    """Raises SpecError where another account of a user's step is active in this process."""
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise SpecError(
            "an account is active already", "leave its `with` block before the next one begins"
        )
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()


class StepAccount:
    """`with account(model, optimizer) as step:` around a training step; then `print(step)`.

    `step.memory` is there once the block is left, also where it raised (what was counted until
    then). The count slows the step down; its results, the model, the optimizer and the state of
    random numbers are what they would be without it. Several steps may stand in one block: the
    peak is that of all of them, and the first one has no optimizer state in its forward pass. On
    CUDA the peaks of `torch.cuda.max_memory_allocated` and the like start anew.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        check_parts(model, optimizer)
        self._model, self._optimizer = model, optimizer
        self._device = _device_of(model)
        self._memory: StepMemory | None = None

    @property
    def memory(self) -> StepMemory:
        """What was measured. Raises SpecError inside the block."""
        if self._memory is None:
            raise SpecError("the step is not over", "read `memory` after the `with` block")
        return self._memory

    def __enter__(self) -> Self:
        if torch.autograd._profiler_enabled():  # pyright: ignore[reportPrivateImportUsage]
            raise SpecError("a profiler is active", "leave it before `scalelab.account`")
        if self._device.type == "cuda" and self._device.index != torch.cuda.current_device():
            raise SpecError(
                f"the model is on {self._device}, which is not the current device",
                f"put the step into `with torch.cuda.device({self._device.index}):`",
            )
        with ExitStack() as stack:
            stack.enter_context(one_account())
            self._memory = None
            self._allocator = _Allocator(self._device)
            self._account = ModuleAccount(
                self._model, self._optimizer, device_type=self._device.type, run=self._allocator.run
            )
            stack.enter_context(self._account)
            self._active = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        finally:
            self._active.__exit__(kind, error, trace)
        allocated, reserved = self._allocator.peaks()
        self._memory = step_memory(
            self._account.module_events(),
            device=str(self._device),
            allocated_bytes=allocated,
            reserved_bytes=reserved,
            reasons=[_COMPILED] if self._account.compiled_ran else [],
        )
        del self._account

    def __str__(self) -> str:
        return "the step is not over" if self._memory is None else str(self._memory)

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>" if self._memory is None else self._memory._repr_html_()


class _Allocator:
    """What CUDA's caching allocator counts meanwhile, copies included that autograd makes only
    while it is looked at; nothing on a CPU.

    Its peaks are reset before each operation, so the highest of them is kept here. Reserved bytes
    do not shrink during a step, unless memory runs out.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._allocated = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self.run = self._run if device.type == "cuda" else None

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
        found = observed_on_cuda(func, args, kwargs)
        self._allocated = max(self._allocated, torch.cuda.max_memory_allocated(self._device))
        return found

    def peaks(self) -> tuple[int | None, int | None]:
        """(allocated, reserved) in bytes, None on a CPU."""
        if self._device.type != "cuda":
            return None, None
        return self._allocated, torch.cuda.max_memory_reserved(self._device)


def check_parts(model: Any, optimizer: Any) -> None:
    """Raises SpecError unless these are a model and its optimizer."""
    if not isinstance(model, nn.Module):
        raise SpecError(
            f"the model is of type {type(model).__name__}", "give a torch.nn.Module, then optimizer"
        )
    if any(map(_is_compiled, model.modules())):
        raise SpecError(
            "a compiled model cannot be followed: its code allocates past PyTorch's dispatcher",
            "give the model as it was before torch.compile, and run the step with that",
        )
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise SpecError(
            f"the optimizer is of type {type(optimizer).__name__}",
            "give a torch.optim.Optimizer, or None for a step without one",
        )


def _is_compiled(module: nn.Module) -> bool:
    # Compiled modules exist only where torch's compiler has been imported; it takes a second.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is not None and isinstance(module, compiler.OptimizedModule):
        return True
    return getattr(module, "_compiled_call_impl", None) is not None


def _device_of(model: nn.Module) -> torch.device:
    found = {tensor.device for tensor in [*model.parameters(), *model.buffers()]}
    if len(found) > 1:
        names = " and ".join(sorted(map(str, found)))
        raise SpecError(f"the model is on {names}", "an account follows one device")
    device = found.pop() if found else torch.device("cpu")
    if device.type not in ("cpu", "cuda"):
        raise SpecError(f"no account of a model on {device}", "move it to a CPU or a CUDA device")
    return device
