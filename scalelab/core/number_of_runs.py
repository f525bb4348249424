"""Refuse a study of more runs than can be listed and planned."""

from scalelab.core.errors import SpecError

__all__ = ["MOST_RUNS", "check_number_of_runs"]

# Each takes 12 KB of the sweep and a prediction: more would need over a GiB, and more than a day
# before the first of them runs.
MOST_RUNS = 100_000


def check_number_of_runs(study: str, number: int, hint: str) -> None:
    """Raises SpecError where the study of this name would have more runs than `MOST_RUNS`."""
    if number > MOST_RUNS:
        message = f"{study}: {number:,} runs are more than the {MOST_RUNS:,} that can be planned"
        raise SpecError(message, hint)
