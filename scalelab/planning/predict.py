"""Predict the memory of a run by component and its seconds, before anything runs."""

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from scalelab.batches.histories import first_rows
from scalelab.batches.steps import Steps
from scalelab.core.errors import PredictionUnsupported, SpecError
from scalelab.core.records import Memory
from scalelab.core.spec import RunSpec
from scalelab.core.units import format_bytes
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.datasets.ranking import evaluated_users
from scalelab.losses import Target
from scalelab.measure.components import Account
from scalelab.measure.environment import computing_with
from scalelab.measure.gpus import visible_gpus
from scalelab.measure.passes import EPOCH
from scalelab.measure.storages import MemoryEvent
from scalelab.planning.allocator import Overflow, replay
from scalelab.planning.buildable import others_faults
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import Workspaces, cublas_workspace_bytes, lt_workspace_bytes
from scalelab.planning.devices import DeviceProfile, load_device
from scalelab.planning.fake_tensor_run import BlockShape, FakeTensorRun
from scalelab.planning.roofline import Seconds, block_seconds, run_seconds, step_seconds
from scalelab.train.assemble import evaluator_of, mask_prob
from scalelab.train.evaluate import Evaluator
from scalelab.train.precision import check_precision, products_in

__all__ = ["Prediction", "PredictionUnsupported", "limit_bytes", "predict", "target_for"]

MemoryKinds = dict[str, dict[str, int]]
# What a training keeps between its steps, beside the batch.
_KEPT_BETWEEN_STEPS = frozenset({"item_table", "encoder_parameters", "optimizer_state", "other"})


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Bytes of the largest training step and of a block of evaluation, seconds, and whether both
    fit under `limit_bytes`.

    `memory` (the step) and `evaluation` have the kinds of the ledger, each by component with a
    `total`; kinds that the device does not have are absent, and `evaluation` is empty where nobody
    is evaluated. `overflow` is the first allocation that would not fit.
    """

    device: str
    memory: MemoryKinds
    evaluation: MemoryKinds
    step_s: Seconds
    run_s: Seconds
    limit_bytes: int
    overflow: Overflow | None

    @property
    def fits(self) -> bool:
        """No allocation goes over the limit."""
        return self.overflow is None

    @property
    def peak_bytes(self) -> int:
        """What the ledger calls the peak, of training: allocated on CUDA, requested on a CPU."""
        kind = "allocated" if "allocated" in self.memory else "requested"
        return self.memory[kind]["total"]

    @property
    def needed_bytes(self) -> int:
        """What is held against the limit: reserved on CUDA, requested on a CPU."""
        kind = "reserved" if "reserved" in self.memory else "requested"
        stages = (self.memory, self.evaluation)
        return max(stage[kind]["total"] for stage in stages if stage)

    @property
    def reason(self) -> str | None:
        """One line on what would not fit, None where all does."""
        if self.overflow is None:
            return None
        wanted = self.overflow
        return (
            f"would not fit: {format_bytes(self.needed_bytes)} needed, "
            f"{format_bytes(self.limit_bytes)} there; the first allocation too many is "
            f"{format_bytes(wanted.num_bytes)} of {wanted.component} in {wanted.phase}"
        )

    def as_document(self) -> dict[str, Any]:
        """What `scalelab plan --json` gives, but for the spec."""
        return {
            "device": self.device,
            "memory": self.memory,
            "evaluation": self.evaluation,
            "seconds": {"step": asdict(self.step_s), "run": asdict(self.run_s)},
            "fits": self.fits,
            "limit_bytes": self.limit_bytes,
            "overflow": None if self.overflow is None else asdict(self.overflow),
            "reason": self.reason,
        }

    def rows(self) -> list[Memory]:
        """Rows of the ledger's table `memory`, beside the measured ones."""
        return [
            Memory(
                stage=stage,
                kind=kind,
                component=name,
                bytes=count,
                reason=None,
                source="predicted",
            )
            for stage, kinds in (("train", self.memory), ("eval", self.evaluation))
            for kind, components in kinds.items()
            for name, count in components.items()
        ]


def predict(
    spec: RunSpec,
    device: DeviceProfile | None = None,
    *,
    budget_bytes: int | None = None,
    data: LengthsOnly | None = None,
) -> Prediction:
    """Run the epoch's largest step and the first block of the test on fake tensors.

    Reads lengths only, generates no data. `device` None is this machine. `budget_bytes` lowers
    what the device has. `data` are the lengths where the caller has read them already.
    Raises PredictionUnsupported, MissingExtra, SpecError or DataError.
    """
    if spec.train.compile:
        raise PredictionUnsupported(
            "no prediction of a compiled model: only its compiler decides what it keeps",
            "--set train.compile=false predicts the plain one, which takes more as a rule",
        )
    device = device or load_device(None)
    check_precision(spec.train.precision, device.kind)
    limit = limit_bytes(device, budget_bytes)
    data = data or lengths(spec.data)
    steps = Steps(
        data.train,
        batch=spec.batch,
        seed=spec.train.seed,
        train_on=spec.loss.train_on,
        mask_prob=mask_prob(spec),
    )
    shape = steps.shape(EPOCH, steps.largest_step(EPOCH))
    cost, of_block = Cost(), Cost()
    target, cublas = target_for(device), _workspaces(device)
    with (
        others_faults(spec),
        computing_with(spec.device.threads),
        products_in(spec.train.precision),
    ):
        fake_run = FakeTensorRun(spec, data.num_items, target=target, workspaces=cublas)
        training = fake_run.train(shape, cost)
        memory, overflow = _memory_kinds(training, device, limit, cublas.noted)
        evaluation: MemoryKinds = {}
        evaluator = evaluator_of(spec, data.num_items)
        users = evaluated_users(data.test, spec.data.max_eval_users)
        size = evaluator.block_users(fake_run.hidden_dim, target)
        block = _first_block(data, users[:size], evaluator)
        if block is not None:
            noted = list(cublas.noted)
            account = fake_run.evaluate(evaluator, block, of_block)
            evaluation, too_much = _memory_kinds(account, device, limit, noted, after=training)
            overflow = overflow or too_much
    step = step_seconds(cost, device, spec.train.precision)
    run = run_seconds(
        spec,
        step,
        num_steps=steps.num_steps,
        block=block_seconds(of_block, device),
        num_blocks=-(-len(users) // size),
    )
    return Prediction(
        device=device.name,
        memory=memory,
        evaluation=evaluation,
        step_s=step,
        run_s=run,
        limit_bytes=limit,
        overflow=overflow,
    )


def limit_bytes(device: DeviceProfile, budget_bytes: int | None) -> int:
    """What a run may take: the budget, else what the device has beside a process's context.

    On CUDA both limit what the caching allocator reserves. Raises SpecError for a budget above what
    the device has.
    """
    if budget_bytes is None:
        return max(0, device.memory_bytes - device.context_bytes)
    if budget_bytes > device.memory_bytes:
        raise SpecError(
            f"a budget of {format_bytes(budget_bytes)} on {device.name}, "
            f"which has {format_bytes(device.memory_bytes)}",
            "lower the budget, or name another device with --on",
        )
    if device.kind == "cuda":
        return min(budget_bytes, device.memory_bytes - device.context_bytes)
    return budget_bytes


def target_for(device: DeviceProfile) -> Target | None:
    """What code is to take the device for, None for a CPU.

    Triton is taken to run on another machine's GPU; on this one's only where it is installed.
    """
    if device.kind != "cuda":
        return None
    triton = not visible_gpus() or importlib.util.find_spec("triton") is not None
    return Target("cuda", device.memory_bytes, device.capability, triton, device.multiprocessors)


def _workspaces(device: DeviceProfile) -> Workspaces:
    version = torch.__version__
    size = device.cublas_bytes
    if size is None:  # not measured
        size = cublas_workspace_bytes(device.capability, version)
    return Workspaces(size, lt_workspace_bytes(version))


def _first_block(data: LengthsOnly, users: np.ndarray, evaluator: Evaluator) -> BlockShape | None:
    """The block that is measured: the first of the test, whose histories are the longer ones."""
    if len(users) == 0:
        return None
    lengths = data.test[users]
    rows = first_rows(
        lengths, packer=evaluator.packer, max_len=evaluator.max_len, masked=evaluator.masked
    )
    seen = int(lengths.sum()) if evaluator.exclude_seen else 0
    return BlockShape(rows, len(users), seen)


def _memory_kinds(
    account: Account,
    device: DeviceProfile,
    limit: int,
    kept: list[tuple[int, int]],
    after: Account | None = None,
) -> tuple[MemoryKinds, Overflow | None]:
    """The account in each kind of memory of the ledger, and the first allocation above the limit.

    `kept` are workspaces by the event at which they are allocated; `after` is the training that ran
    before and left its segments in the allocator.
    """
    known = {name: count for name, count in account.peak_components().items() if count}
    kinds = {"requested": {"total": account.peak_bytes, **known}}
    if device.kind != "cuda":
        return kinds, _first_above(account, limit)
    events, window = list(account.events()), account.window
    if after is not None:
        events, window = _continued(after, events, window)
    free = replay(events, window=window, kept=kept)
    kinds["allocated"] = {"total": free.allocated}
    kinds["reserved"] = {"total": free.reserved}
    kinds["device_used"] = {"total": free.reserved + device.context_bytes}
    if free.reserved <= limit:
        return kinds, None
    # It may still fit once cached segments are given back: the allocator itself decides.
    again = replay(events, window=window, kept=kept, limit_bytes=limit)
    return kinds, again.overflow


def _continued(
    training: Account, later: list[MemoryEvent], window: int
) -> tuple[list[MemoryEvent], int]:
    """The events of a training, the frees of its batch and gradients, then what happened `later`.

    Weights and optimizer state exist in both: `later` has their allocations before its `window`,
    which are left out. Returns the new window too.
    """
    events = list(training.events())
    live: dict[int, MemoryEvent] = {}
    for event in events:
        held = event.num_bytes
        if event.storage in live:
            held += live[event.storage].num_bytes
        live[event.storage] = event._replace(num_bytes=held)
    freed = [
        event._replace(num_bytes=-event.num_bytes)
        for event in live.values()
        if event.num_bytes and event.component not in _KEPT_BETWEEN_STEPS
    ]
    first = 1 + max((event.storage for event in events), default=0)
    renumbered = [event._replace(storage=first + event.storage) for event in later[window:]]
    return [*events, *freed, *renumbered], len(events) + len(freed)


def _first_above(account: Account, limit: int) -> Overflow | None:
    live = 0
    for event in account.events():
        live += event.num_bytes
        if live > limit:
            return Overflow(num_bytes=event.num_bytes, phase=event.phase, component=event.component)
    return None
