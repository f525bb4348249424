"""Read bytes and seconds from text, and write them for people."""

import re

from scalelab.core.errors import SpecError

__all__ = [
    "BYTES_PER_UNIT",
    "GIB",
    "KIB",
    "MIB",
    "format_bytes",
    "format_seconds",
    "parse_bytes",
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
    """Bytes of a size such as `300MiB`, `8GB` (10^9) or `8G` (2^30). Raises SpecError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    if match is None or (match[2].lower() or "b") not in BYTES_PER_UNIT:
        raise SpecError(
            f"invalid size: {str(text)!r}", "write a number and a unit: 300MiB, 8GB, 24GiB"
        )
    size = int(float(match[1]) * BYTES_PER_UNIT[match[2].lower() or "b"])
    if size <= 0:
        raise SpecError(f"invalid size: {str(text)!r} is not above 0", "write for example 300MiB")
    return size


def parse_seconds(text: str | float) -> float:
    """Seconds of a duration such as `90`, `90s`, `10min`, `2h` or `1h30m`. Raises SpecError."""
    plain = str(text).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", plain):
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
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
