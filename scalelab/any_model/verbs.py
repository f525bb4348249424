"""Measure or predict a training step of one's own model; torch is imported inside the verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from scalelab.any_model.account import StepAccount
    from scalelab.any_model.estimate import Estimate

__all__ = ["account", "estimate", "estimate_file"]


def account(model: nn.Module, optimizer: Optimizer | None = None) -> StepAccount:
    """Measure the memory of any training step of any PyTorch model, on a CPU or a GPU.

        with scalelab.account(model, optimizer) as step:
            loss_function(model(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        print(step)

    `step.memory` has live tensor bytes by kind, phase and module at the peak. Run a step before it:
    the first one has no optimizer state yet. Raises SpecError for a model on two devices, a
    compiled model, an active profiler or a second account.
    """
    from scalelab.any_model.account import StepAccount

    return StepAccount(model, optimizer)


def estimate(
    model: nn.Module,
    step: Callable[[Any, Any], Tensor],
    inputs: Any,
    optimizer: Optimizer | None = None,
    *,
    on: str | Path | None = None,
    budget: str | int | None = None,
    accumulate: int = 1,
) -> Estimate:
    """What a training step of any PyTorch model would take on a GPU that need not be there.

    `step(model, inputs)` returns the loss; backward pass and optimizer follow. Everything runs on
    fake copies: the model, the optimizer, the gradients and the random state stay as they are, and
    no memory is taken, so the model may be one on the device "meta". `on` is a device profile
    (None: this machine). With `accumulate`, that many steps make one update.

    The result has `memory` (bytes by kind, phase and module; allocated and reserved on CUDA),
    `step_s` (a range of seconds), `fits` and `reason`. Where `memory.exact` is false,
    `memory.reasons` say what is not counted. Raises SpecError, and PredictionUnsupported for what
    cannot be predicted.
    """
    from scalelab.any_model.estimate import estimate as predicted
    from scalelab.core.units import parse_bytes
    from scalelab.planning.devices import load_device

    budget_bytes = parse_bytes(budget) if budget is not None else None
    return predicted(
        model,
        step,
        inputs,
        optimizer,
        device=load_device(on),
        budget_bytes=budget_bytes,
        accumulate=accumulate,
    )


def estimate_file(
    target: str,
    *,
    on: str | Path | None = None,
    budget: str | int | None = None,
    accumulate: int = 1,
) -> Estimate:
    """`estimate` of what the function `FILE:FUNCTION` returns: model, step, inputs, optimizer.

    `FILE` is a Python file or the dotted name of a module. Raises SpecError.
    """
    from scalelab.any_model.estimate import estimate as predicted
    from scalelab.any_model.step_file import given_by
    from scalelab.core.units import parse_bytes
    from scalelab.planning.devices import load_device

    # Before the function runs, which may take its time.
    budget_bytes = parse_bytes(budget) if budget is not None else None
    device = load_device(on)
    given = given_by(target)
    return predicted(*given, device=device, budget_bytes=budget_bytes, accumulate=accumulate)
