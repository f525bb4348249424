from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.units import KIB, MIB
from scalelab.measure.storages import MemoryEvent
from scalelab.planning.allocator import CachingAllocator, replay

SIZES = st.one_of(
    st.integers(1, 4 * KIB), st.integers(1, 2 * MIB), st.integers(1, 64 * MIB), st.just(MIB)
)


@given(st.lists(st.tuples(SIZES, st.integers(0, 30)), max_size=80))
def test_nothing_overlaps_and_everything_comes_back(wishes: list[tuple[int, int]]) -> None:
    """Each wish is a size and after how many further wishes it is freed."""
    allocator = CachingAllocator()
    live: dict[int, tuple[int, int]] = {}
    for index, (size, lifetime) in enumerate(wishes):
        for address, (_, end) in list(live.items()):
            if end <= index:
                allocator.free(address)
                del live[address]
        address = allocator.allocate(size)
        assert address is not None
        assert address % 512 == 0
        for other, (length, _) in live.items():
            assert address + size <= other or other + length <= address
        live[address] = (size, index + lifetime)
        held = sum(length for length, _ in live.values())
        assert held <= allocator.allocated <= allocator.reserved
        # An unsplit tail is at most 1 MiB of a large block, below 512 B of a small one.
        assert allocator.allocated <= held + len(live) * (MIB + 512)
    for address in live:
        allocator.free(address)
    assert allocator.allocated == 0
    reserved = allocator.reserved
    # All segments are whole again: whatever was there can be had again without a new one.
    for size, _ in sorted(wishes, reverse=True)[:1]:
        allocator.allocate(size)
    assert allocator.reserved == reserved


def test_the_constants_of_the_allocator() -> None:
    def held(size: int) -> tuple[int, int]:
        allocator = CachingAllocator()
        allocator.allocate(size)
        return allocator.allocated, allocator.reserved

    assert held(1) == (512, 2 * MIB)
    assert held(MIB) == (MIB, 2 * MIB)
    assert held(MIB + 1) == (MIB + 512, 20 * MIB)
    assert held(10 * MIB) == (10 * MIB, 10 * MIB)
    # The rest of a large segment is handed out whole unless more than 1 MiB of it remains.
    assert held(19 * MIB + 512) == (20 * MIB, 20 * MIB)
    assert held(20 * MIB - 512 * 3) == (20 * MIB, 20 * MIB)
    assert held(21 * MIB + 1) == (22 * MIB, 22 * MIB)


def test_cached_segments_are_given_back_before_it_gives_up() -> None:
    allocator = CachingAllocator(64 * MIB)
    first = allocator.allocate(40 * MIB)
    assert first is not None
    allocator.free(first)
    assert allocator.reserved == 40 * MIB
    assert allocator.allocate(60 * MIB) is not None
    assert allocator.reserved == 60 * MIB
    assert allocator.allocate(10 * MIB) is None


def test_fragments_can_make_a_fitting_size_too_large() -> None:
    allocator = CachingAllocator(40 * MIB)
    blocks = [allocator.allocate(2 * MIB) for _ in range(20)]
    for block in blocks[::2]:
        assert block is not None
        allocator.free(block)
    assert allocator.allocated == 20 * MIB
    assert allocator.allocate(4 * MIB) is None


def test_a_replay_names_what_does_not_fit() -> None:
    events = [
        MemoryEvent(0, 30 * MIB, "setup", "item_table"),
        MemoryEvent(1, 20 * MIB, "forward", "activations"),
        MemoryEvent(1, -20 * MIB, "forward", "activations"),
        MemoryEvent(2, 50 * MIB, "loss", "loss_workspace"),
    ]
    free = replay(events, window=1)
    assert (free.allocated, free.reserved, free.overflow) == (80 * MIB, 100 * MIB, None)
    tight = replay(events, window=1, limit_bytes=80 * MIB)
    assert tight.overflow is None
    over = replay(events, window=1, limit_bytes=79 * MIB).overflow
    assert over is not None
    assert (over.component, over.phase, over.num_bytes) == ("loss_workspace", "loss", 50 * MIB)


def test_what_is_kept_takes_its_place_at_its_event_and_stays() -> None:
    events = [
        MemoryEvent(0, 30 * MIB, "setup", "item_table"),
        MemoryEvent(1, 40 * MIB, "forward", "activations"),
        MemoryEvent(1, -40 * MIB, "forward", "activations"),
        MemoryEvent(2, 20 * MIB, "backward", "activations"),
    ]
    # From the second event on it is there beside the activations; at the third it would take the
    # place that those have left, and the last allocation would need a segment of its own.
    early, late = (
        replay(events, window=1, kept=[(1, 32 * MIB)]),
        replay(events, window=1, kept=[(3, 32 * MIB)]),
    )
    assert (early.allocated, early.reserved) == (102 * MIB, 102 * MIB)
    assert (late.allocated, late.reserved) == (82 * MIB, 90 * MIB)
    # Kept before the window it is part of the floor.
    assert replay(events, window=3, kept=[(1, 32 * MIB)]).allocated == 82 * MIB
    over = replay(events, window=1, kept=[(1, 32 * MIB)], limit_bytes=61 * MIB).overflow
    assert over is not None
    assert (over.num_bytes, over.component, over.phase) == (32 * MIB, "other", "forward")
