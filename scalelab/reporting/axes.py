"""Make axes with round ticks for bytes, seconds, counts and qualities."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from scalelab.core.units import GIB, KIB, MIB

__all__ = ["axis_of", "position", "quality_axis", "value_at"]


def axis_of(
    found: Sequence[float],
    title: str,
    *,
    unit: str = "",
    log: bool | None = None,
    zero: bool = False,
) -> dict[str, Any]:
    """Keywords of a channel: title, a scale with a stated domain, and ticks at round places.

    `unit` is byte, s, count or empty. Log where the numbers span more than a factor of four,
    unless `log` says otherwise; `zero` makes a linear scale start there.
    """
    low, high = (min(found), max(found)) if found else (1.0, 2.0)
    if log is None:
        log = not zero and low > 0 and high / low > 4
    # Numbers that differ by rounding alone are equal: no place lies between them.
    differ = high - low > 1e-9 * max(abs(low), abs(high))
    if log:
        margin = (high / low) ** 0.06 if differ else 1.5
        start, end = low / margin, high * margin
        ticks = _log_ticks(start, end, unit)
    else:
        margin = 0.06 * (high - low) if differ else abs(high) * 0.1 or 1.0
        start, end = (0.0, high * 1.02) if zero else (low - margin, high + margin)
        ticks = _linear_ticks(start, end, unit)
    # A logarithmic scale has no zero to leave out.
    kind: dict[str, Any] = {"type": "log"} if log else {"type": "linear", "zero": False}
    scale = alt.Scale(domain=[start, end], nice=False, **kind)
    labelled: dict[str, Any] = {"labelExpr": _LABELS[unit]} if unit else {}
    axis = alt.Axis(values=ticks, **labelled)
    return {"title": title, "scale": scale, "axis": axis}


def quality_axis(found: Sequence[float], title: str) -> dict[str, Any]:
    """Keywords of a channel of qualities: from zero, the worst there is, to the best of `found`."""
    best = max(found, default=0.0)
    return axis_of([best * 1.03 if best > 0 else 1.0], title, log=False, zero=True)


def position(scale: alt.Scale, value: float) -> float:
    """The position of `value` on a scale of `axis_of`: 0 at its start, 1 at its end."""
    encoded = scale.to_dict()
    low, high = encoded["domain"]
    if encoded["type"] == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def value_at(scale: alt.Scale, place: float) -> float:
    """The value at a `position` of a scale of `axis_of`."""
    encoded = scale.to_dict()
    low, high = encoded["domain"]
    if encoded["type"] == "log":
        return low * (high / low) ** place
    return low + (high - low) * place


def _short(count: str) -> str:
    """A Vega expression for a count with up to four digits and no power of ten."""
    return f"format({count}, {count} >= 1000 ? ',.0f' : '.4~r')"


_DURATIONS = (
    *(factor * 10.0**n for n in (-3, -2, -1) for factor in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
    *(3600.0 * hours for hours in (1, 2, 4, 8, 12, 24, 48, 96, 240, 480)),
)
_V = "datum.value"
_LABELS = {
    "byte": f"{_V} >= {GIB} ? {_short(f'({_V} / {GIB})')} + ' GiB' : "
    f"{_V} >= {MIB} ? {_short(f'({_V} / {MIB})')} + ' MiB' : "
    f"{_V} == 0 ? '0' : {_short(f'({_V} / {KIB})')} + ' KiB'",
    "s": f"{_V} >= 3600 && {_V} % 3600 == 0 ? {_short(f'({_V} / 3600)')} + ' h' : "
    f"{_V} >= 60 && {_V} % 60 == 0 ? {_short(f'({_V} / 60)')} + ' min' : {_short(_V)} + ' s'",
    "count": f"{_V} >= 1e6 ? {_short(f'({_V} / 1e6)')} + ' M' : format({_V}, ',')",
}


def _log_ticks(low: float, high: float, unit: str) -> list[float]:
    """Up to eight powers of two, round durations, or 1, 2 and 5 times powers of ten."""
    if unit == "byte":
        powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
        found = [2.0**power for power in powers]
    elif unit == "s":
        found = [tick for tick in _DURATIONS if low <= tick <= high]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [factor * 10.0**n for n in decades for factor in (1, 2, 5)]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) > 8:
            found = [10.0**n for n in decades if low <= 10.0**n <= high]
    every = max(1, math.ceil(len(found) / 8))
    return found[::every]


def _linear_ticks(low: float, high: float, unit: str) -> list[float]:
    """Up to seven multiples of a power of two, a round duration, or 1, 2, 5 times 10 to some n."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 6))
    step = next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= 6.001)
    if unit == "byte":
        step = 2.0 ** math.ceil(math.log2(span / 6))
    elif unit == "s":
        step = next((tick for tick in _DURATIONS if span / tick <= 6), step)
    ticks = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [float(f"{step * n:.12g}") for n in ticks]
