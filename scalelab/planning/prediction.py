"""Hold what is predicted of a run: bytes by component, seconds, and whether it fits."""

from dataclasses import asdict, dataclass
from typing import Any

from scalelab.batches.steps import StepChoice
from scalelab.core.memory_kinds import limited_kind, peak_kind
from scalelab.core.records import Memory
from scalelab.core.units import format_bytes
from scalelab.planning.allocator import Overflow
from scalelab.planning.host import ProcessBytes
from scalelab.planning.memory_kinds import MemoryKinds
from scalelab.planning.roofline import Seconds
from scalelab.train.evaluate import BlockChoice

__all__ = ["Prediction"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Bytes of the largest training step and the largest block of evaluation of a run, seconds, and
    whether both fit under `limit_bytes`. A step of a pre-training counts as one of training.

    `memory` (the step) and `evaluation` have the kinds of the ledger, each by component with a
    `total`; kinds that the device does not have are absent, and `evaluation` is empty where nobody
    is evaluated. `run_s` counts `pretraining_s`, which is None for a run without one. What fits
    only because the allocator gives cached segments back is shown as the allocator then holds it,
    `without_limit_bytes` as it would be held without a limit. `overflow`
    is the first allocation that would not fit. `largest_step` and `largest_block` say which they
    are. `evaluation_s` are the seconds of ranking all test users once. `process` is what
    the process takes beside its tensors, for a CPU alone: it is left out of `limit_bytes`.
    """

    device: str
    device_kind: str
    memory: MemoryKinds
    evaluation: MemoryKinds
    step_s: Seconds
    run_s: Seconds
    pretraining_s: Seconds | None
    evaluation_s: Seconds
    num_items: int
    num_users: int
    steps_per_epoch: int
    without_limit_bytes: int
    limit_bytes: int
    overflow: Overflow | None
    largest_step: StepChoice
    largest_block: BlockChoice | None
    process: ProcessBytes | None

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
    def host_rss_bytes(self) -> int | None:
        """The resident memory of the whole process, for a CPU alone."""
        if self.process is None:
            return None
        return self.process.resident + self.needed_bytes

    @property
    def reason(self) -> str | None:
        """One line on what would not fit, None where all does."""
        if self.overflow is None:
            return None
        reason = self.overflow.reason(self.needed_bytes, self.limit_bytes)
        if self.process is None:
            return reason
        return f"{reason}; the process and its data take {format_bytes(self.process.held)} beside"

    def as_document(self) -> dict[str, Any]:
        """What `scalelab plan --json` gives, but for the spec."""
        return {
            "device": self.device,
            "memory": self.memory,
            "evaluation": self.evaluation,
            "needed_bytes": self.needed_bytes,
            "host_rss_bytes": self.host_rss_bytes,
            "process_bytes": None if self.process is None else self.process.held,
            "num_items": self.num_items,
            "num_users": self.num_users,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds": {
                "step": asdict(self.step_s),
                "evaluation": asdict(self.evaluation_s),
                "run": asdict(self.run_s),
                "pretraining": None if self.pretraining_s is None else asdict(self.pretraining_s),
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
        epoch, step, shape, is_pretraining = self.largest_step
        return {
            **({"pretraining": True} if is_pretraining else {}),
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
