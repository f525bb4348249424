"""Run the scale probe of a public log: 1.87 million items and 12,288 shared negatives."""

import time
from typing import Any

import torch
from call import MIB, Call

from scalelab.core.events import Observer
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.data import Data, load_data

__all__ = ["run"]

# What that log has on an H100, and what this package wants.
MOST_MS, MOST_GB = 32.0, 4.5
STEPS = range(10, 30)


class _Steps(Observer):
    """Seconds and memory of the steps in the middle, of the loop as it runs."""

    def __init__(self, call: Call) -> None:
        self.call, self.at, self.seconds, self.positions = call, 0.0, 0.0, 0
        self.peaks: dict[str, float] = {}
        self.begin, self.end = (STEPS.start, STEPS.stop) if call.is_cuda else (0, 2)

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """From the end of one step to the end of another: batches are part of it."""
        if step == self.begin:
            self.call.sync()
            if self.call.is_cuda:
                torch.cuda.reset_peak_memory_stats()
            self.at, self.positions = time.perf_counter(), 0
        self.positions += num_positions
        if step == self.end:
            self.call.sync()
            self.seconds = (time.perf_counter() - self.at) / (self.end - self.begin)
            if self.call.is_cuda:
                self.peaks = {
                    "allocated_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3),
                    "reserved_gb": round(torch.cuda.max_memory_reserved() / 1e9, 3),
                }


def run(call: Call) -> None:
    """Both precisions, with the kernel that `auto` chooses and with the tiled code."""
    known = "kernel" in _options()
    data = load_data(RunSpec.load("sasrec-synthetic", probe_settings(call)))
    for kernel in ("auto", "tiled") if known else (None,):
        for precision in ("bf16", "fp32"):
            call.need(3)
            changes: dict[str, Any] = {"train.precision": precision}
            changes |= {} if kernel is None else {"loss.kernel": kernel}
            row: dict[str, Any] = {"precision": precision, "kernel": kernel}
            row |= _measured(call, changes, data)
            call.row("probe", row)
            if call.is_cuda and kernel != "tiled":
                what = f"the step in {precision}"
                ms, gb = row["ms_a_step"], row["allocated_gb"]
                call.check(f"{what}, under {MOST_MS} ms", ms < MOST_MS, ms)
                call.check(f"{what}, under {MOST_GB} GB", gb < MOST_GB, gb)


def _options() -> tuple[str, ...]:
    from scalelab.core import plugins

    return tuple(plugins.options("losses", "sampled_softmax"))


def _measured(call: Call, changes: dict[str, Any], data: Data) -> dict[str, Any]:
    spec = RunSpec.load("sasrec-synthetic", probe_settings(call) | changes)
    at = time.perf_counter()
    trainer = assemble(spec, data)
    assembled = time.perf_counter() - at
    steps = _Steps(call)
    with trainer.observed_by([steps]):
        trainer.fit()
    found = {
        "ms_a_step": round(1e3 * steps.seconds, 3),
        "positions_a_step": steps.positions // (steps.end - steps.begin + 1),
        "assembled_s": round(assembled, 1),
    } | steps.peaks
    del trainer
    if call.is_cuda:
        torch.cuda.empty_cache()
        call.say(f"{torch.cuda.memory_allocated() / MIB:.0f} MiB are left allocated")
    return found


def probe_settings(call: Call) -> dict[str, Any]:
    """Rows of 200 positions that are full: histories are as long as the synthetic reader goes."""
    large = call.is_cuda
    return {
        "device.name": call.device,
        "data.num_items": 1_870_000 if large else 2_000,
        "data.num_users": 256 * 40 if large else 64,
        "data.min_length": 203 if large else 23,
        "data.mean_length": 203 if large else 23,
        "data.max_length": 203 if large else 23,
        "data.max_eval_users": 64,
        "batch.size": 256 if large else 16,
        "batch.max_len": 200 if large else 20,
        "loss.name": "sampled_softmax",
        "negatives.per": "batch",
        "negatives.num_negatives": 12_288 if large else 64,
        "model.hidden_dim": 64,
        "train.epochs": 1,
        "train.max_steps": 31 if large else 3,
    }
