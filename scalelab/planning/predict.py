"""Predict the memory of a run by component and its seconds, before anything runs."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from scalelab.batches.batch import BatchShape
from scalelab.batches.steps import StepChoice, Steps
from scalelab.core.errors import PredictionUnsupported
from scalelab.core.memory_kinds import limited_kind, peak_kind
from scalelab.core.records import Memory
from scalelab.core.spec import RunSpec
from scalelab.datasets.earlier import earlier_lengths
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.measure.components import Account
from scalelab.measure.environment import computing_with
from scalelab.planning.allocator import Overflow
from scalelab.planning.buildable import others_faults
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import workspaces_for
from scalelab.planning.devices import DeviceProfile, load_device
from scalelab.planning.fake_tensor_run import FakeTensorRun
from scalelab.planning.host import resident_bytes
from scalelab.planning.limits import limit_bytes, target_for
from scalelab.planning.memory_kinds import MemoryKinds, memory_kinds
from scalelab.planning.roofline import Seconds, block_seconds, run_seconds, step_seconds
from scalelab.train.assemble import evaluator_of, mask_last_prob, mask_prob
from scalelab.train.evaluate import BlockChoice
from scalelab.train.precision import check_precision, products_in

__all__ = ["Prediction", "PredictionUnsupported", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Bytes of the largest training step and the largest block of evaluation of a run, seconds, and
    whether both fit under `limit_bytes`.

    `memory` (the step) and `evaluation` have the kinds of the ledger, each by component with a
    `total`; kinds that the device does not have are absent, and `evaluation` is empty where nobody
    is evaluated. What fits only because the allocator gives cached segments back is shown as the
    allocator then holds it, `without_limit_bytes` as it would be held without a limit. `overflow`
    is the first allocation that would not fit. `largest_step` and `largest_block` say which they
    are. `evaluation_s` are the seconds of ranking all test users once. `host_rss_bytes` is the
    resident memory of the whole process, for a CPU alone.
    """

    device: str
    device_kind: str
    memory: MemoryKinds
    evaluation: MemoryKinds
    step_s: Seconds
    run_s: Seconds
    evaluation_s: Seconds
    num_items: int
    num_users: int
    steps_per_epoch: int
    without_limit_bytes: int
    limit_bytes: int
    overflow: Overflow | None
    largest_step: StepChoice
    largest_block: BlockChoice | None
    host_rss_bytes: int | None

    @property
    def fits(self) -> bool:
        """No allocation goes over the limit."""
        return self.overflow is None

    @property
    def peak_bytes(self) -> int:
        """What the ledger calls the peak, of training: allocated on CUDA, requested on a CPU."""
        return self.memory[peak_kind(self.device_kind)]["total"]

    @property
    def needed_bytes(self) -> int:
        """What is held against the limit: reserved on CUDA, requested on a CPU."""
        kind = limited_kind(self.device_kind)
        return max(s[kind]["total"] for s in (self.memory, self.evaluation) if s)

    @property
    def reason(self) -> str | None:
        """One line on what would not fit, None where all does."""
        if self.overflow is None:
            return None
        return self.overflow.reason(self.needed_bytes, self.limit_bytes)

    def as_document(self) -> dict[str, Any]:
        """What `scalelab plan --json` gives, but for the spec."""
        return {
            "device": self.device,
            "memory": self.memory,
            "evaluation": self.evaluation,
            "needed_bytes": self.needed_bytes,
            "host_rss_bytes": self.host_rss_bytes,
            "num_items": self.num_items,
            "num_users": self.num_users,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds": {
                "step": asdict(self.step_s),
                "evaluation": asdict(self.evaluation_s),
                "run": asdict(self.run_s),
            },
            "fits": self.fits,
            "limit_bytes": self.limit_bytes,
            "overflow": None if self.overflow is None else asdict(self.overflow),
            "reason": self.reason,
            "largest_step": self._step_facts(),
            "largest_block": self._block_facts(),
        }

    def _step_facts(self) -> dict[str, Any]:
        """Epochs and steps count from 1; the epoch is None for the largest possible step."""
        epoch, step, shape = self.largest_step
        return {
            "epoch": None if epoch is None else epoch + 1,
            "step": step + 1,
            "rows": shape.num_rows,
            "positions": shape.num_positions,
        }

    def _block_facts(self) -> dict[str, Any] | None:
        if self.largest_block is None:
            return None
        split, number, shape = self.largest_block
        return {"split": split, "block": number + 1, "rows": shape.num_rows}

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


class _Trained(NamedTuple):
    """A training on fake tensors, and the workspaces that it took, by event and bytes."""

    run: FakeTensorRun
    account: Account
    workspaces: list[tuple[int, int]]


def predict(
    spec: RunSpec,
    device: DeviceProfile | None = None,
    *,
    budget_bytes: int | None = None,
    data: LengthsOnly | None = None,
) -> Prediction:
    """Run the largest step of all epochs and the largest block of evaluation on fake tensors.

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
        mask_last_prob=mask_last_prob(spec),
    )
    target = target_for(device)
    evaluator = evaluator_of(spec, data.num_items)
    with (
        others_faults(spec),
        computing_with(spec.device.threads),
        products_in(spec.train.precision),
    ):

        def trained(shape: BatchShape, cost: Cost | None = None) -> _Trained:
            # Each its own run: workspaces are allocated once a run, and so are weights.
            cublas = workspaces_for(device)
            run = FakeTensorRun(spec, data.num_items, target=target, workspaces=cublas)
            return _Trained(run, run.train(shape, steps.num_steps, cost), list(cublas.noted))

        # Seconds are those of the first epoch's largest step: few steps of a run are larger.
        cost, usual = Cost(), steps.shape(0, steps.largest_step(0))
        of_usual = trained(usual, cost)
        found = [
            (of_usual if choice.shape == usual else trained(choice.shape), choice)
            for choice in of_usual.run.largest_steps(steps)
        ]
        largest, largest_step = max(found, key=lambda pair: pair[0].account.peak_bytes)
        memory, without_limit, overflow = memory_kinds(
            largest.account, device, limit, kept=largest.workspaces
        )
        evaluation: MemoryKinds = {}
        block_cost, largest_block = Cost(), None
        block_users = evaluator.block_users(largest.run.hidden_dim, target)
        evaluated = data.evaluated(spec.data.max_eval_users)
        earlier = earlier_lengths(evaluated["test"], spec.evaluate.positions)
        evaluated |= earlier
        blocks = []
        for choice in evaluator.largest_blocks(
            evaluated,
            block_users=block_users,
        ):
            of_this = Cost()
            account = largest.run.evaluate(evaluator, choice.shape, of_this)
            blocks.append((account, of_this, choice))
        if blocks:
            account, block_cost, largest_block = max(blocks, key=lambda each: each[0].peak_bytes)
            evaluation, held, too_much = memory_kinds(
                account, device, limit, kept=largest.workspaces, after=largest.account
            )
            without_limit, overflow = max(without_limit, held), overflow or too_much
    of_update = min(spec.train.accumulate, steps.num_steps)
    step = step_seconds(cost, device, spec.train.precision, of_update)
    num_blocks = -(-len(evaluated["test"]) // block_users)
    block = block_seconds(block_cost, device)
    run = run_seconds(
        spec,
        step,
        num_steps=steps.num_steps,
        block=block,
        num_blocks=num_blocks,
        blocks_once=sum(-(-len(part) // block_users) for part in earlier.values()),
    )
    return Prediction(
        device=device.name,
        device_kind=device.kind,
        memory=memory,
        evaluation=evaluation,
        step_s=step,
        run_s=run,
        evaluation_s=Seconds(low=num_blocks * block.low, high=num_blocks * block.high),
        num_items=data.num_items,
        num_users=data.num_users,
        steps_per_epoch=steps.num_steps,
        without_limit_bytes=without_limit,
        limit_bytes=limit,
        overflow=overflow,
        largest_step=largest_step,
        largest_block=largest_block,
        host_rss_bytes=_host_rss(device, data, memory, evaluation),
    )


def _host_rss(
    device: DeviceProfile, data: LengthsOnly, memory: MemoryKinds, evaluation: MemoryKinds
) -> int | None:
    if device.kind != "cpu":
        return None
    peaks = [kinds["requested"]["total"] for kinds in (memory, evaluation) if kinds]
    return resident_bytes(data, max(peaks))
