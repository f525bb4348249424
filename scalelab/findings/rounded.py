"""Write ratios and percentages for sentences: few digits, and never an exponent."""

from decimal import Decimal
from typing import Literal

__all__ = ["rounded", "times"]


def rounded(value: float, digits: int = 3, *, sign: Literal["", "+"] = "") -> str:
    """The value with so many digits, such as 0.0123; from 100 up all digits before the point."""
    if abs(value) >= 100:
        return f"{value:{sign},.0f}"
    return f"{Decimal(f'{value:.{digits}g}'):{sign}f}"


def times(ratio: float, word: str) -> str:
    """As in "2.5 times as large"; "about as large" where the digits shown are those of 1."""
    number = rounded(ratio)
    return f"about as {word}" if number == "1" else f"{number} times as {word}"
