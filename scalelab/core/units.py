"""Read bytes, seconds and counts from text, and write them for people."""

import math
import re

from scalelab.core.errors import SpecError

__all__ = [
    "BYTES_PER_UNIT",
    "GIB",
    "KIB",
    "MIB",
    "format_bytes",
    "format_range",
    "format_seconds",
    "format_share",
    "parse_bytes",
    "parse_count",
    "parse_seconds",
]

KIB = 2**10
MIB = 2**20
GIB = 2**30

BYTES_PER_UNIT = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": KIB, "m": MIB, "g": GIB, "t": 2**40, "kib": KIB, "mib": MIB, "gib": GIB, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_bytes(text: str | int) -> int:
    """Bytes of a size such as `300MiB`, `8GB` (10^9) or `8G` (2^30). Raises SpecError.

    A text needs a unit; an int is bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    if match is None or (match[2].lower() or "b") not in BYTES_PER_UNIT:
        raise SpecError(
            f"invalid size: {str(text)!r}", "write a number and a unit: 300MiB, 8GB, 24GiB"
        )
    size = int(float(match[1]) * BYTES_PER_UNIT[match[2].lower() or "b"])
    if isinstance(text, str) and not match[2] and float(match[1]) > 0:
        raise SpecError(
            f"invalid size: which unit has {text!r}?",
            f"write {match[1]}GiB, {match[1]}GB or {match[1]}MiB",
        )
    if size <= 0:
        raise SpecError(f"invalid size: {str(text)!r} is not above 0", "write for example 300MiB")
    return size


def parse_seconds(text: str | float) -> float:
    """Seconds of a duration such as `90s`, `10min`, `2h` or `1h30m`. Raises SpecError.

    A text needs a unit; a number is seconds.
    """
    plain = str(text).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        if isinstance(text, str) and float(plain) > 0:
            hint = f"write {plain}s, {plain}min or {plain}h"
            raise SpecError(f"invalid duration: which unit has {text!r}?", hint)
        plain += "s"
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", plain)
    joined = "".join(number + unit for number, unit in parts)
    known = all(unit in _SECONDS for _, unit in parts)
    if not parts or not known or joined != plain.replace(" ", ""):
        hint = "write for example 90s, 10min, 2h, 1h30m"
        raise SpecError(f"invalid duration: {str(text)!r}", hint)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        message = f"invalid duration: {str(text)!r} is not above 0"
        raise SpecError(message, "write for example 10min")
    return seconds


def parse_count(text: str | int) -> int:
    """A number of items or users: `2M`, `300k`, `1_000_000` or `2,000,000`. Raises SpecError."""
    plain = str(text).strip().lower().replace("_", "").replace(",", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?|bn?)", plain)
    if match is None:
        raise SpecError(f"invalid number: {str(text)!r}", "write for example 2M, 300k or 1_000_000")
    count = float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}.get(match[2], 1e9)
    if count < 1 or count != int(count):
        message = f"invalid number: {str(text)!r} is not a whole number above 0"
        raise SpecError(message, "write for example 2M, 300k or 1_000_000")
    return int(count)


def format_bytes(count: float) -> str:
    """Bytes with a binary unit and three significant digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            # 1,000 to 1,023 of a unit have four digits: .3g would write them as a power of ten.
            whole = unit == "B" or abs(count) >= 999.5
            return f"{count:.0f} {unit}" if whole else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def format_seconds(seconds: float) -> str:
    """Seconds for people: 8 ms, 12.3 s, 4m 05s, 2h 07m."""
    if seconds < 0.9995:  # above, .3g would write 1000 ms as a power of ten
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


_SCALES = (("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0))


def format_range(low: float, high: float) -> str:
    """A range of seconds in few letters: 9.1 to 24 ms, 25 min to 4.7 h, 12 s where both agree."""
    first, second = _scaled(low), _scaled(high)
    if first == second:
        return " ".join(first)
    # One unit where both have it; else each its own.
    start = first[0] if first[1] == second[1] else " ".join(first)
    return f"{start} to {' '.join(second)}"


def format_share(share: float) -> str:
    """A share of a whole in percent, such as 59 % or 3.2 %; what is less than all is not 100 %."""
    if 0.995 <= share < 1:
        return f"{math.floor(1000 * share) / 10:.1f} %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _scaled(seconds: float) -> tuple[str, str]:
    name, size = _SCALES[0]
    for next_name, next_size in _SCALES[1:]:
        # Two days are still 48 hours.
        if seconds >= next_size * (2 if next_name == "days" else 1):
            name, size = next_name, next_size
    value = seconds / size
    return (f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"), name
