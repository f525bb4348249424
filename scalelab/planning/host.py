"""Predict the resident memory of a whole process that trains on a CPU."""

from scalelab.core.spec import RunSpec
from scalelab.core.units import MIB
from scalelab.datasets.load import LengthsOnly

__all__ = ["resident_bytes", "rolled_out_bytes"]

# Python, torch, numba and its compiled kernels, oneDNN, and what the memory passes keep: measured
# with torch 2.13 on Linux, x86-64, as the peak of `scalelab profile` less the bytes of its tensors
# and data. Another build of torch differs.
_PROCESS = 560 * MIB
# A user of the training set takes part in arrays of lengths, starts and ends, of the splits and of
# the plans of two epochs; an interaction is an item id and, in most data, a time. Both count
# where they are memory-mapped too: they stay resident as long as nothing else needs the memory.
_A_USER, _AN_ITEM, _A_TIME = 160, 4, 8


def rolled_out_bytes(spec: RunSpec, data: LengthsOnly) -> int:
    """The copy of all items in which hidden ones are replaced step by step."""
    return _AN_ITEM * data.num_interactions if spec.evaluate.steps_ahead else 0


def resident_bytes(data: LengthsOnly, requested: int, further: int = 0) -> int:
    """Highest resident bytes, from those of live tensors at the peak of training or evaluation.

    `further` are those of samples that are prefixes of histories, and of a roll-out.
    """
    an_interaction = _AN_ITEM + (_A_TIME if data.has_times else 0)
    of_data = _A_USER * data.num_users + an_interaction * data.num_interactions
    return _PROCESS + of_data + further + requested
