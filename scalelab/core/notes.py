"""Write the notes that people must read beside the numbers of a run."""

from collections.abc import Mapping

__all__ = ["note_on_account", "note_on_old_runs", "notes_on_targets"]

# Below this share of the test targets ties decide little.
_MANY_TIES = 0.05
# How far the account of memory may be from the allocator's own count, relative.
_ACCOUNT_TOLERANCE = 0.001


def note_on_account(error: float | None) -> str:
    """Say that the account of memory missed the allocator's own count by over 0.1 %, else ""."""
    if error is None or abs(error) <= _ACCOUNT_TOLERANCE:
        return ""
    return (
        f"the account of memory is {100 * abs(error):.2f} % from the allocator's own count in the "
        "largest step: take its bytes by component with care"
    )


def note_on_old_runs(counts: Mapping[int | None, int], today: int) -> str:
    """Say why finished runs of a ledger, counted by results version, run again."""
    count = sum(counts.values())
    old = " and ".join("no results version" if v is None else f"version {v}" for v in counts)
    runs = "1 finished run has" if count == 1 else f"{count} finished runs have"
    return (
        f"{runs} {old} and would have other numbers today (version {today}): they run again, the "
        "old rows stay"
    )


def notes_on_targets(
    tied: float | None, repeated: float | None, *, ties: str, exclude_seen: bool
) -> list[str]:
    """What limits every score on the test targets: ties of time, and items that users had before.

    `tied` and `repeated` are shares of the test targets, None where they are not known; `ties` and
    `exclude_seen` are those of the section data.
    """
    found: list[str] = []
    if tied is not None and tied >= _MANY_TIES and ties == "file":
        found.append(
            f"ties: {100 * tied:.0f} % of the test targets have the time of the item before, so "
            'the order of the file decides which is the target; data.ties = "hash" takes that away'
        )
    if repeated is not None and repeated > 0.5 and exclude_seen:
        found.append(
            f"repeats: {100 * repeated:.0f} % of the test targets are misses only because their "
            'users had them before; see data.drop ("exact", "consecutive") and data.exclude_seen'
        )
    return found
