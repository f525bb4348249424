"""Compare the account of the largest training step with the allocator's own count of it.

The account attributes bytes to components by rules; an allocator only counts them, and knows no
rules. On a CPU torch's profiler records every allocation of one more step; on CUDA the allocator
has counted requested bytes in its own pass (`scalelab.measure.passes.allocator_pass`).
"""

import logging
from collections.abc import Sequence

from scalelab.batches.steps import StepChoice
from scalelab.core.events import Stage
from scalelab.core.records import Memory
from scalelab.measure.components import Account
from scalelab.measure.passes import account_of, batch_tensors, step_of
from scalelab.measure.scratch import peak_of
from scalelab.train.trainer import Trainer

__all__ = ["account_error"]

_LOG = logging.getLogger(__name__)
# Errors above this share are reported: predictions of such a model are wrong by as much.
_TOLERANCE = 1e-3


def account_error(
    trainer: Trainer, account: Account, choice: StepChoice, rows: Sequence[Memory]
) -> float | None:
    """(account - allocator) / allocator, of the peak of the largest step, `choice`.

    `rows` are the measured ones. None where no allocator has counted: on CUDA where the pass of the
    allocator is missing. An error above 0.1 % is logged once.
    """
    on_cpu = trainer.parts.device.type == "cpu"
    counted = _counted_by_profiler(trainer, choice) if on_cpu else _counted_on_cuda(rows)
    if not counted:
        return None
    error = (account.peak_bytes - counted) / counted
    if abs(error) > _TOLERANCE:
        _LOG.warning(
            "the account of memory differs by %+.2f %% from the allocator's count (%d bytes) of "
            "the largest training step; components and predictions of this model are as inexact",
            100 * error,
            counted,
        )
    return error


def _counted_by_profiler(trainer: Trainer, choice: StepChoice) -> int:
    """What exists before the step, which the profiler does not see, and the most that it adds."""
    with step_of(trainer, choice) as (batch, step):
        if trainer.pretraining is not None:  # its optimizers have just begun anew
            step()
        before = account_of(trainer)
        before.label("batch", batch_tensors(batch))
        return before.peak_bytes + peak_of(step, (), {})


def _counted_on_cuda(rows: Sequence[Memory]) -> int | None:
    """`tensors` are the bytes requested beyond what libraries keep, see `TorchAllocator`."""
    for row in rows:
        key = (row.stage, row.kind, row.component)
        if key == (Stage.TRAIN, "requested_by_allocator", "tensors"):
            return row.bytes
    return None
