"""Predict the resident memory of a whole process that trains on a CPU."""

from typing import NamedTuple

from scalelab.core.spec import RunSpec
from scalelab.core.units import MIB
from scalelab.datasets.load import LengthsOnly

__all__ = ["ProcessBytes", "process_bytes", "rolled_out_bytes"]

# Python, torch, numba and its compiled kernels, oneDNN, and what the memory passes keep: measured
# with torch 2.13 on Linux, x86-64, as the peak of `scalelab profile` less the bytes of its tensors
# and data. Another build of torch differs.
_PROCESS = 560 * MIB
# Of these, what a process takes after its run has started, when its libraries are imported already:
# measured on the same machine as 97 to 105 MiB of memory of its own.
_AFTER_START = 100 * MIB
# A user of the training set takes part in arrays of lengths, starts and ends, of the splits and of
# the plans of two epochs; an interaction is an item id and, in most data, a time. Both count
# where they are memory-mapped too: they stay resident as long as nothing else needs the memory.
# 247 to 322 bytes a user were seen with 0.9 to 4 million of them, most for a moment only.
_A_USER, _AN_ITEM, _A_TIME = 290, 4, 8


def rolled_out_bytes(spec: RunSpec, data: LengthsOnly) -> int:
    """The copy of all items in which hidden ones are replaced step by step."""
    return _AN_ITEM * data.num_interactions if spec.evaluate.steps_ahead else 0


class ProcessBytes(NamedTuple):
    """What the process of a run on a CPU takes beside its tensors.

    `resident` are all bytes. `held` are those without files that are memory-mapped, of which the
    kernel keeps as much as fits. `grown` are those of `held` that are taken after the
    run has started, which a budget counts.
    """

    resident: int
    held: int
    grown: int


def process_bytes(data: LengthsOnly, further: int = 0) -> ProcessBytes:
    """`further` are the bytes of samples that are prefixes of histories, and of a roll-out."""
    an_interaction = _AN_ITEM + (_A_TIME if data.has_times else 0)
    of_interactions = an_interaction * data.num_interactions
    others = _A_USER * data.num_users + further
    in_memory = others + (0 if data.is_mapped else of_interactions)
    return ProcessBytes(
        resident=_PROCESS + others + of_interactions,
        held=_PROCESS + in_memory,
        grown=_AFTER_START + in_memory,
    )
