"""Choose the held-out targets that evaluation ranks for."""

import numpy as np

__all__ = ["begins_of_runs", "evaluated_rows"]


def evaluated_rows(
    lengths: np.ndarray, max_users: int = 0, users: np.ndarray | None = None
) -> np.ndarray:
    """Indices of the rows that are ranked for: all with a history, or those of `max_users` users,
    evenly spaced. `users` says whose a row is, those of a user side by side; None: one row each.
    """
    rows = np.flatnonzero(lengths > 0)
    if max_users == 0 or len(rows) == 0:
        return rows
    begins = np.arange(len(rows)) if users is None else begins_of_runs(users[rows])
    if max_users >= len(begins):
        return rows
    chosen = np.linspace(0, len(begins) - 1, max_users).astype(np.int64)
    if users is None:
        return rows[chosen]
    ends = np.append(begins[1:], len(rows))
    return np.concatenate([rows[begins[n] : ends[n]] for n in chosen])


def begins_of_runs(groups: np.ndarray) -> np.ndarray:
    """The first place of each run of equal numbers."""
    return np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1])
