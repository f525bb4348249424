"""What CUDA's allocator holds after a training and several blocks of evaluation."""

import torch

from scalelab.core.units import MIB
from scalelab.measure.components import Account
from scalelab.planning.devices import load_device
from scalelab.planning.memory_kinds import memory_kinds


def holding(mib: int) -> Account:
    """The account of work that holds so many MiB for a while."""
    account = Account("cpu")
    with account:
        tensor = torch.empty(mib * MIB, dtype=torch.uint8)
        del tensor
    return account


def test_every_block_leaves_its_segments_to_the_next() -> None:
    """As on an H100, where the largest block of validation ran before that of test: 134 MiB more
    than after the larger one alone.
    """
    training, smaller, larger = holding(30), holding(40), holding(50)
    device = load_device("h100")

    def held(*blocks: Account) -> dict[str, int]:
        found = memory_kinds(
            larger, device, device.memory_bytes, kept=[], after=training, among=blocks
        )
        return {kind: each["total"] // MIB for kind, each in found.kinds.items()}

    assert held()["reserved"] == 30 + 50
    assert held(smaller, larger)["reserved"] == 30 + 40 + 50
    # One that is larger comes first: the next fits into what it left.
    assert held(larger, smaller)["reserved"] == 30 + 50
    assert held(smaller, larger)["allocated"] == 50
    assert held(smaller, larger)["requested"] == 50


def test_what_a_block_leaves_behind_is_freed_before_the_next() -> None:
    device, kept = load_device("h100"), []
    first = Account("cpu")
    with first:
        kept.append(torch.empty(40 * MIB, dtype=torch.uint8))
    second = holding(40)
    found = memory_kinds(
        second, device, device.memory_bytes, kept=[], after=holding(1), among=[first, second]
    )
    assert found.kinds["allocated"]["total"] == 40 * MIB
