"""Predict the largest catalog that trains on this GPU, and train just below it."""

import math
import time
from typing import Any

import torch
from call import MIB, Call

import scalelab
from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble

__all__ = ["run"]

BELOW = 0.995


def run(call: Call) -> None:
    """Width 128, sampled softmax with shared negatives; three steps, no evaluation."""
    small = not call.is_cuda
    settings: dict[str, Any] = {
        "data.num_users": 300 if small else 2_000,
        "data.num_items": 2_000 if small else 32_000_000,
        "loss.name": "sampled_softmax",
        "negatives.per": "batch",
        "negatives.num_negatives": 64 if small else 8192,
        "batch.size": 16 if small else 128,
        "model.hidden_dim": 128,
        "model.num_heads": 2,
        "train.max_steps": 3,
        "device.name": call.device,
    }
    at = time.perf_counter()
    try:
        (plan,) = scalelab.plan(
            "sasrec-synthetic",
            set=settings,
            solve="data.num_items",
            budget="64MiB" if small else None,
        )
    except SpecError as error:
        call.check("a largest catalog is predicted", False, error)
        return
    largest = plan["value"]
    call.note(predicted_largest=largest, seconds_of_plan=round(time.perf_counter() - at, 1))
    call.note(predicted_memory={kind: sum_of(figures) for kind, figures in plan["memory"].items()})
    call.need(5)
    items = int(largest * BELOW)
    try:
        _train(call, settings, items)
    except torch.OutOfMemoryError as error:
        call.check("it trains", False, error)
    if call.is_cuda:
        peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        call.note(allocated_mib=round(peaks[0] / MIB), reserved_mib=round(peaks[1] / MIB))
        call.check("more than 32 million items of width 128", items > 32_000_000, items)


def _train(call: Call, settings: dict[str, Any], items: int) -> None:
    at = time.perf_counter()
    trainer = assemble(RunSpec.load("sasrec-synthetic", settings | {"data.num_items": items}))
    call.note(assembled_s=round(time.perf_counter() - at, 1), items=items)
    batch = trainer.to_device(trainer.loader.batch(0, trainer.loader.largest_step(0)))
    times: list[float] = []
    loss = float("nan")
    for step in range(3):
        call.need(1)
        at = time.perf_counter()
        loss = float(trainer.step(batch, 1, step))
        times.append(round(time.perf_counter() - at, 3))
    call.note(loss=loss, seconds_a_step=times)
    call.check("it trains", math.isfinite(loss), loss)


def sum_of(figures: Any) -> Any:
    """The total of one kind of memory, whichever form the plan gives it."""
    return figures.get("total", sum(figures.values())) if isinstance(figures, dict) else figures
