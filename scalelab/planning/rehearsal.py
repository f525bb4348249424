"""A spec, a catalog size and the shape of a step in, the account of that step on fake tensors out.

The step is the very function that trains (`scalelab.train.step.training_step`); fake tensors have
shapes and storages of a size but no data, so that a catalog of any size costs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.batches.batch import Batch, BatchShape, NegativeIds
from scalelab.core import plugins
from scalelab.core.events import Phase
from scalelab.core.spec import NegativesSpec, RunSpec
from scalelab.measure.components import Account
from scalelab.measure.passes import batch_tensors, label_parts, micro_steps
from scalelab.measure.workspaces import foreseen, foreseen_on_cuda
from scalelab.planning.cost import Cost
from scalelab.planning.cuda import as_on_cuda
from scalelab.train.assemble import build_parts
from scalelab.train.step import Announce, Parts, training_step

__all__ = ["empty_batch", "rehearse"]

# Fake storages live on this device, whatever device their tensors claim.
_FAKE = "meta"


def rehearse(
    spec: RunSpec,
    num_items: int,
    shape: BatchShape,
    *,
    like_cuda: bool = False,
    cost: Cost | None = None,
) -> Account:
    """The account from the making of the model to its second step, which is the window.

    The first step, the warm-up, is counted by `cost`, if there is one. `like_cuda` runs what CUDA
    would run where it differs (see `scalelab.planning.cuda`).
    """
    device = as_on_cuda() if like_cuda else nullcontext()
    run = foreseen_on_cuda if like_cuda else foreseen
    with FakeTensorMode(), Account(_FAKE, run) as account, device:
        parts = fake_parts(spec, num_items)
        batch = empty_batch(shape, spec.negatives)
        label_parts(account, parts)
        account.label("batch", batch_tensors(batch))
        updates = micro_steps(parts.accumulate)
        with cost or nullcontext():
            for update in updates:
                training_step(parts, batch, _announcing(account), update)
        account.start_window()
        for update in updates:
            training_step(parts, batch, _announcing(account), update)
    return account


def fake_parts(spec: RunSpec, num_items: int) -> Parts:
    """Model, loss and optimizer of a run as fake tensors, inside an active FakeTensorMode."""
    device = spec.device.model_copy(update={"name": "cpu"})
    on_cpu = spec.model_copy(update={"device": device})
    parts = build_parts(on_cpu, num_items)
    return replace(parts, log_popularity_V=torch.empty(num_items + 1))


def empty_batch(shape: BatchShape, sources: tuple[NegativesSpec, ...]) -> Batch:
    """A batch of the loader's types and sizes without contents."""
    rows, max_len, sequences, positions = shape
    layout = (rows, max_len)
    groups = {"position": (positions,), "sequence": (sequences,), "batch": ()}
    return Batch(
        item_ids_BL=torch.empty(layout, dtype=torch.int32),
        segments_BL=torch.empty(layout, dtype=torch.int32),
        positions_BL=torch.empty(layout, dtype=torch.int32),
        valid_N=torch.empty(positions, dtype=torch.int64),
        targets_N=torch.empty(positions, dtype=torch.int64),
        sequence_N=torch.empty(positions, dtype=torch.int32),
        is_last_N=torch.empty(positions, dtype=torch.bool),
        users_S=torch.empty(sequences, dtype=torch.int32),
        negatives=tuple(
            NegativeIds(
                source.per,
                torch.empty((*groups[source.per], source.num_negatives), dtype=torch.int32),
                plugins.load("negatives", source.name)(**source.options).exponent,
            )
            for source in sources
        ),
    )


def _announcing(account: Account) -> Announce:
    @contextmanager
    def announce(phase: Phase) -> Iterator[None]:
        account.on_phase_start(phase)
        try:
            yield
        finally:
            account.on_phase_end(phase)

    return announce
