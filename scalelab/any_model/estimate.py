"""Predict memory and time of a training step of any PyTorch model, for a device one may not have.

The step runs twice on fake tensors: the first makes the optimizer's state, the second is counted.
"""

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (  # noqa: PLC2701
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.autograd.graph import _engine_run_backward  # noqa: PLC2701 # pyright: ignore
from torch.optim import Optimizer

from scalelab.any_model.account import check_parts, one_account
from scalelab.any_model.fake_copies import Copies
from scalelab.any_model.fake_step import FakeStep
from scalelab.any_model.memory import StepMemory, step_memory
from scalelab.any_model.module_account import ModuleEvent
from scalelab.core.errors import PredictionUnsupported, ScalelabError, SpecError
from scalelab.core.units import format_bytes, format_seconds
from scalelab.measure.storages import MemoryEvent
from scalelab.planning.allocator import Overflow, replay
from scalelab.planning.cost import Cost
from scalelab.planning.devices import DeviceProfile
from scalelab.planning.limits import limit_bytes
from scalelab.planning.roofline import Seconds, step_seconds

__all__ = ["Estimate", "Step", "estimate"]

Step = Callable[[Any, Any], Tensor]
# What a step cannot do on tensors without values.
_NO_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a training step would take on `device`, from the second step on.

    `memory` has live tensor bytes by kind, phase and module and, for CUDA, what the caching
    allocator would hold. `device_used_bytes` adds what a process takes beside it. `overflow` is the
    first allocation that would not fit under `limit_bytes`.
    """

    device: str
    memory: StepMemory
    device_used_bytes: int | None
    step_s: Seconds
    limit_bytes: int
    overflow: Overflow | None

    @property
    def fits(self) -> bool:
        """No allocation goes over the limit."""
        return self.overflow is None

    @property
    def needed_bytes(self) -> int:
        """What is held against the limit: reserved on CUDA, live tensors on a CPU."""
        reserved = self.memory.reserved_bytes
        return self.memory.peak_bytes if reserved is None else reserved

    @property
    def reason(self) -> str | None:
        """One line on what would not fit, None where all does."""
        if self.overflow is None:
            return None
        return self.overflow.reason(self.needed_bytes, self.limit_bytes)

    def as_dict(self) -> dict[str, Any]:
        """What `scalelab estimate --json` gives."""
        fields = self.memory.as_dict()
        if self.device_used_bytes is not None:
            fields["memory"]["device_used"] = {"total": self.device_used_bytes}
        return fields | {
            "seconds": {"step": asdict(self.step_s)},
            "fits": self.fits,
            "limit_bytes": self.limit_bytes,
            "overflow": None if self.overflow is None else asdict(self.overflow),
            "reason": self.reason,
        }

    @property
    def verdict(self) -> str:
        """One line: seconds of a step, and whether it fits."""
        low, high = format_seconds(self.step_s.low), format_seconds(self.step_s.high)
        fits = self.reason or f"fits into {format_bytes(self.limit_bytes)}"
        return f"A step takes {low} to {high}; it {fits}"

    def __str__(self) -> str:
        return f"{self.memory}\n\n{self.verdict}"

    def _repr_html_(self) -> str:
        # Of sizes and names of kinds alone, which need no escape.
        return f"{self.memory._repr_html_()}<p>{self.verdict}</p>"


def estimate(
    model: nn.Module,
    step: Step,
    inputs: Any,
    optimizer: Optimizer | None,
    *,
    device: DeviceProfile,
    budget_bytes: int | None = None,
    accumulate: int = 1,
) -> Estimate:
    """Run `loss = step(model, inputs)`, the backward pass and the optimizer on fake copies.

    Gradients are None before each update; with `accumulate` steps for one update the later ones
    find those of the first. Raises SpecError for a step that fails or a budget that the device does
    not have, PredictionUnsupported for one that reads values of tensors or that only cuDNN knows.
    """
    check_parts(model, optimizer)
    if not callable(step):
        raise SpecError("the step is not a function", "give a function step(model, inputs)")
    if accumulate < 1:
        raise SpecError(f"accumulate must be at least 1, got {accumulate}", "leave it out")
    limit = limit_bytes(device, budget_bytes)
    fake, cost = FakeTensorMode(allow_non_fake_inputs=True), Cost()
    copies = Copies(fake)
    copied = copies.model(model)
    stepper = None if optimizer is None else copies.optimizer(optimizer)
    first = len(copies.made)
    given = copies.copied(inputs, "the inputs")
    with one_account(), _random_state_kept():
        account = FakeStep(copied, stepper, copies.made[first:], device)

        def update() -> None:
            for _ in range(accumulate):
                loss = _checked(step(copied, given))
                _run_backward(loss)
                del loss
            if stepper is not None:
                stepper.step()
            for parameter in copied.parameters():
                parameter.grad = None

        with fake, account, account.around(), _errors_in_one_line():
            update()
            window = account.num_events
            with cost:  # by now the optimizer has its state
                update()
    return _estimate(account, window=window, cost=cost, device=device, limit=limit)


def _estimate(
    account: FakeStep, *, window: int, cost: Cost, device: DeviceProfile, limit: int
) -> Estimate:
    events = tuple(account.module_events())
    allocated = reserved = used = None
    if device.kind == "cuda":
        free = replay(_plain(events), window=window, kept=account.kept)
        allocated, reserved, overflow = free.allocated, free.reserved, None
        used = reserved + device.context_bytes
        if reserved > limit:
            # It may still fit once cached segments are given back: the allocator itself decides.
            again = replay(_plain(events), window=window, kept=account.kept, limit_bytes=limit)
            overflow = again.overflow
            if overflow is not None and overflow.component == "other":
                overflow = replace(overflow, component="cuBLAS workspace")
    else:
        overflow = _first_above(events, limit)
    precision = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "fp32"
    return Estimate(
        device=device.name,
        memory=step_memory(
            events,
            device=device.name,
            window=window,
            allocated_bytes=allocated,
            reserved_bytes=reserved,
            reasons=account.reasons,
        ),
        device_used_bytes=used,
        step_s=step_seconds(cost, device, precision),
        limit_bytes=limit,
        overflow=overflow,
    )


def _plain(events: tuple[ModuleEvent, ...]) -> Iterator[MemoryEvent]:
    return (MemoryEvent(each.storage, each.num_bytes, each.phase, each.kind) for each in events)


def _first_above(events: tuple[ModuleEvent, ...], limit: int) -> Overflow | None:
    live = 0
    for event in events:
        live += event.num_bytes
        if live > limit:
            return Overflow(num_bytes=event.num_bytes, phase=event.phase, component=event.kind)
    return None


def _checked(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of size {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss)
        raise SpecError(f"the step returned {what}", "return the loss, a tensor of one number")
    if not loss.requires_grad:
        raise SpecError(
            "the loss that the step returned depends on no parameter",
            "leave out no_grad and detach",
        )
    return loss


def _run_backward(loss: Tensor) -> None:
    """`loss.backward()`, which itself would leave the modes that are active, and so would what a
    checkpoint recomputes.
    """
    # The loss and its gradient; neither keep nor record a graph; into every leaf.
    _engine_run_backward(
        (loss,),
        (torch.ones_like(loss),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn what goes wrong in a user's step into one line; the error itself is its cause."""
    try:
        with warnings.catch_warnings():
            # torch only warns that it does not do what the step requested: no autocast for CUDA.
            message = ".*but CUDA is not available. Disabling"
            warnings.filterwarnings("error", message=message)
            yield
    except ScalelabError:
        raise
    except _NO_VALUES as error:
        raise PredictionUnsupported(
            f"the step or its optimizer reads values of tensors ({_line(error)}), "
            "and a prediction has none",
            "take .item(), nonzero, boolean indexing and the like out of the step; or use account",
        ) from error
    except Exception as error:
        if "CUDA is not available" in str(error):
            raise PredictionUnsupported(
                "the step requests autocast on CUDA, and a prediction runs on tensors of a CPU",
                "write torch.autocast(tensor.device.type, ...)",
            ) from error
        raise SpecError(
            f"the step failed: {type(error).__name__}: {_line(error)}",
            "it must work with the model and inputs as they are; run it once on small inputs",
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """A step may draw numbers, also those of Python and numpy."""
    numpy = sys.modules.get("numpy")
    ours, theirs = random.getstate(), None if numpy is None else numpy.random.get_state()
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
        random.setstate(ours)
        if numpy is not None:
            numpy.random.set_state(theirs)
