"""Say from stored figures whether a run has learned more than popularity, and whether it was done.

A loss with many negatives first brings all scores down together. For some hundred updates the model
is then the popularity list, and a run that ends there says nothing about its loss.
"""

from collections.abc import Iterable, Sequence

__all__ = [
    "ABOVE_BASELINE",
    "AT_BASELINE",
    "BELOW",
    "STILL_RISING",
    "above_baseline",
    "at_baseline",
    "below_baseline",
    "left_plateau",
    "note_on_run",
    "still_rising",
]

# How tables, charts and the live view say it.
AT_BASELINE = "ended no better than the popularity baseline"
STILL_RISING = "still rising when it ended"
BELOW = "below the baseline"

# Validation quality in multiples of the popularity baseline's, from which a model has left it.
ABOVE_BASELINE = 1.1
# Updates after which a model that is still level with the popularity list is taken as any other.
_LONGEST_PLATEAU = 2_000
# What the last quarter of the validations must have gained on those before it, relative.
_GAIN = 0.01


def above_baseline(value: float, popularity: float) -> bool:
    """Is a quality on validation clearly above that of the popularity baseline?"""
    return value > ABOVE_BASELINE * popularity


def left_plateau(value: float, popularity: float, updates: int) -> bool:
    """May a run be judged by this validation quality: is it above the popularity baseline, or has
    it had as many updates as any loss needs to get there?
    """
    return above_baseline(value, popularity) or updates >= _LONGEST_PLATEAU


def at_baseline(valid: Sequence[float], popularity: float | None) -> bool:
    """Has no validation (in the order of the epochs) left the popularity baseline?

    False where nothing was validated or the baseline is not known.
    """
    return bool(valid) and popularity is not None and not above_baseline(max(valid), popularity)


def still_rising(valid: Sequence[float], stopped: str | None) -> bool:
    """Did training end although validation (in the order of the epochs) still rose?

    It did where the best of the last quarter of the validations, at least one, is over 1 % above
    the best before. A run that patience has stopped rose no more; one validation says nothing.
    """
    if stopped == "patience" or len(valid) < 2:
        return False
    last = max(1, len(valid) // 4)
    return max(valid[-last:]) > (1 + _GAIN) * max(valid[:-last])


def note_on_run(
    valid: Sequence[float],
    stopped: str | None,
    test: float | None,
    baselines: Iterable[tuple[str, float | None, float | None]],
) -> str:
    """What must be known of a run before it is compared with others; "" where there is nothing.

    `baselines` are names with the metric on validation and test.
    """
    found = list(baselines)
    popularity = next((one for name, one, _ in found if name == "popularity"), None)
    notes = (
        AT_BASELINE if at_baseline(valid, popularity) else "",
        STILL_RISING if still_rising(valid, stopped) else "",
        below_baseline(test, [(name, figure) for name, _, figure in found]),
    )
    return "; ".join(note for note in notes if note)


def below_baseline(test: float | None, baselines: Iterable[tuple[str, float | None]]) -> str:
    """The best baseline that ranks better on test, in words; "" where there is none."""
    better = [
        (figure, name)
        for name, figure in baselines
        if figure is not None and test is not None and figure > test
    ]
    if not better:
        return ""
    figure, name = max(better)
    return f"{BELOW} {name.replace('_', ' ')} ({figure:.4f})"
