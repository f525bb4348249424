"""Turn an account of storages into the kinds of memory of the ledger."""

from collections.abc import Sequence
from typing import NamedTuple

from scalelab.measure.components import Account
from scalelab.measure.storages import MemoryEvent
from scalelab.planning.allocator import Overflow, replay
from scalelab.planning.devices import DeviceProfile

__all__ = ["Held", "MemoryKinds", "memory_kinds"]

MemoryKinds = dict[str, dict[str, int]]
# What a training keeps between its steps, beside the batch.
_KEPT_BETWEEN_STEPS = frozenset(
    {"item_table", "encoder_parameters", "attribute_table", "optimizer_state", "other"}
)


class Held(NamedTuple):
    """What an account holds: `kinds` under the limit if it fits, else without a limit.

    `without_limit` are the bytes that count against the limit if there were none; `overflow` is the
    first allocation above it.
    """

    kinds: MemoryKinds
    without_limit: int
    overflow: Overflow | None


def memory_kinds(
    account: Account,
    device: DeviceProfile,
    limit: int,
    *,
    kept: list[tuple[int, int]],
    after: Account | None = None,
    among: Sequence[Account] = (),
) -> Held:
    """The account in each kind of memory of the ledger, and the first allocation above the limit.

    `kept` are workspaces by the event at which they are allocated; `after` is the training that ran
    before and left its segments in the allocator. `among` are blocks of evaluation in the order in
    which they run, the account one of them: each leaves its segments to the next.
    """
    known = {name: count for name, count in account.peak_components().items() if count}
    kinds = {"requested": {"total": account.peak_bytes, **known}}
    if device.kind != "cuda":
        return Held(kinds, account.peak_bytes, _first_above(account, limit))
    events, window = list(account.events()), account.window
    if after is not None:
        events, window = _continued(after, among or (account,))
    free = found = replay(events, window=window, kept=kept)
    overflow = None
    if free.reserved > limit:
        # It may still fit once cached segments are given back: the allocator itself decides.
        again = replay(events, window=window, kept=kept, limit_bytes=limit)
        overflow = again.overflow
        if overflow is None:
            found = again
    kinds["allocated"] = {"total": found.allocated}
    kinds["reserved"] = {"total": found.reserved}
    kinds["device_used"] = {"total": found.reserved + device.context_bytes}
    return Held(kinds, free.reserved, overflow)


def _continued(training: Account, later: Sequence[Account]) -> tuple[list[MemoryEvent], int]:
    """The events of a training, the frees of its batch and gradients, then what happened `later`.

    Weights and optimizer state exist in all of them: each of `later` has their allocations before
    its window, which are left out. Returns the new window too.
    """
    events = list(training.events())
    events += [each for each in _frees(events) if each.component not in _KEPT_BETWEEN_STEPS]
    window = len(events)
    for account in later:
        first = 1 + max((event.storage for event in events), default=0)
        own = list(account.events())[account.window :]
        own = [event._replace(storage=first + event.storage) for event in own]
        events += [*own, *_frees(own)]
    return events, window


def _frees(events: Sequence[MemoryEvent]) -> list[MemoryEvent]:
    """What frees all that is still there after `events`."""
    live: dict[int, MemoryEvent] = {}
    for event in events:
        held = event.num_bytes
        if event.storage in live:
            held += live[event.storage].num_bytes
        live[event.storage] = event._replace(num_bytes=held)
    # A storage that existed before its first event here is not freed by these.
    return [
        event._replace(num_bytes=-event.num_bytes) for event in live.values() if event.num_bytes > 0
    ]


def _first_above(account: Account, limit: int) -> Overflow | None:
    live = 0
    for event in account.events():
        live += event.num_bytes
        if live > limit:
            return Overflow(num_bytes=event.num_bytes, phase=event.phase, component=event.component)
    return None
