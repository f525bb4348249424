"""List the formats in which times are written as text, each as SQL that gives microseconds."""

import re
from dataclasses import dataclass

from scalelab.datasets.readers._connection import literal

__all__ = ["CANDIDATES", "ISO", "Candidate", "stated"]

_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to read a time; `example` is what data.time_format would say."""

    example: str
    formats: tuple[str, ...]
    pattern: str = ""
    splits_fractions: bool = True

    def micros(self, text: str) -> str:
        """SQL: microseconds since 1970 in UTC of `text`, its fraction left out; NULL if unread."""
        if not self.splits_fractions:
            return f"epoch_us(try_strptime({text}, {literal(self.formats[0])}))"
        # Fractions of seconds are added apart: DuckDB would keep six digits of them.
        base = rf"regexp_replace({text}, '(:[0-9]{{2}})[.,][0-9]+', '\1')"
        base = rf"regexp_replace({base}, '\s+', ' ', 'g')"
        if self is ISO:
            # DuckDB 1.4 wants seconds before a zone, and none a blank before an offset.
            base = (
                rf"regexp_replace({base}, '([T ][0-9]{{1,2}}:[0-9]{{2}})( |[A-Z+-]|$)', '\1:00\2')"
            )
            base = rf"regexp_replace({base}, '(:[0-9]{{2}}) ([+-])', '\1\2')"
            stamp = f"coalesce(TRY_CAST({base} AS TIMESTAMPTZ), {_strptime(base, self.formats)})"
        else:
            stamp = _strptime(base, self.formats)
        read = f"epoch_us({stamp})"
        if not self.pattern:
            return read
        return f"CASE WHEN regexp_matches({text}, {literal(self.pattern)}) THEN {read} END"


def _strptime(text: str, formats: tuple[str, ...]) -> str:
    return f"try_strptime({text}, [{', '.join(map(literal, formats))}])"


def stated(time_format: str) -> Candidate:
    """The format that data.time_format states."""
    # Fractions are taken by their digits, so that none is lost.
    plain = re.sub(r"%S[.,]%[fgn]", "%S", time_format)
    fine = any(code in plain for code in ("%f", "%n", "%g"))
    return Candidate(example=time_format, formats=(plain,), splits_fractions=not fine)


def _dates(*orders: str, pattern: str = "") -> Candidate:
    formats = tuple(order + clock for order in orders for clock in _CLOCKS)
    return Candidate(example=orders[-1], formats=formats, pattern=pattern)


def _three_numbers(mark: str) -> list[Candidate]:
    """Day first, month first, year first: which is meant, only the values can show."""
    few = rf"^[0-9]{{1,2}}\{mark}[0-9]{{1,2}}\{mark}[0-9]{{2}}"
    two = rf"{few}([^0-9]|$)"
    return [
        _dates(f"%d{mark}%m{mark}%y", pattern=two),
        _dates(f"%m{mark}%d{mark}%y", pattern=two),
        _dates(f"%y{mark}%m{mark}%d", pattern=two),
        _dates(f"%d{mark}%m{mark}%Y", pattern=rf"{few}[0-9]{{2}}"),
        _dates(f"%m{mark}%d{mark}%Y", pattern=rf"{few}[0-9]{{2}}"),
    ]


ISO = Candidate(
    example="2020-01-31T10:00:00+02:00",
    formats=("%Y-%m-%d %H", "%Y-%m-%dT%H", "%Y/%m/%d %H"),
    # Other names of zones than these stand for several: CST is used in China and in Chicago.
    pattern=r"^[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}([T ][0-9]{1,2}(:[0-9]{2}){0,2}([.,][0-9]+)? ?"
    r"(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)?)?$",
)
CANDIDATES = [
    ISO,
    Candidate(example="%a %b %d %H:%M:%S %z %Y", formats=("%a %b %d %H:%M:%S %z %Y",)),
    Candidate(
        example="%a %b %d %H:%M:%S %Z %Y", formats=("%a %b %d %H:%M:%S %Z %Y",), pattern="(UTC|GMT)"
    ),
    Candidate(example="%a %b %d %H:%M:%S %Y", formats=("%a %b %d %H:%M:%S %Y",)),
    Candidate(example="%a, %d %b %Y %H:%M:%S %z", formats=("%a, %d %b %Y %H:%M:%S %z",)),
    Candidate(
        example="%a, %d %b %Y %H:%M:%S %Z",
        formats=("%a, %d %b %Y %H:%M:%S %Z",),
        pattern="(UTC|GMT)",
    ),
    Candidate(example="%d/%b/%Y:%H:%M:%S %z", formats=("%d/%b/%Y:%H:%M:%S %z",)),
    _dates("%m %d, %Y"),
    _dates("%B %d, %Y", "%b %d, %Y", "%b %d %Y"),
    Candidate(
        example="%Y-%m-%d %I:%M %p",
        formats=tuple(f"%Y{m}%m{m}%d {c}" for m in "-/" for c in ("%I:%M %p", "%I:%M:%S %p")),
    ),
    _dates("%d %B %Y", "%d %b %Y"),
    _dates("%d-%B-%Y", "%d-%b-%Y"),
    _dates("%Y.%m.%d", pattern="^[0-9]{4}[.]"),
    _dates("%Y%m%d", pattern="^[0-9]{8} "),
    Candidate(example="%Y%m%dT%H%M%S", formats=("%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ")),
    *_three_numbers("/"),
    *_three_numbers("-"),
    *_three_numbers("."),
]
