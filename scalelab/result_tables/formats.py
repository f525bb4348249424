"""Decide in which format a file is written, from an option and from the name of the file."""

from collections.abc import Collection
from pathlib import Path

from scalelab.core.errors import SpecError

__all__ = ["format_of"]


def format_of(option: str | None, out: Path | None, known: Collection[str], default: str) -> str:
    """The format that `option` names, else the one that the ending of `out` names, else `default`.

    Raises SpecError for a format that is not among the `known`, or where option and ending differ:
    nobody would look for a page in a file called chart.png.
    """
    if option is not None and option not in known:
        raise SpecError(f"unknown format: {option!r}", f"there are: {', '.join(known)}")
    if out is None:
        return option or default
    named = out.suffix.lstrip(".").lower()
    if named not in known:
        if option is None and named and not out.is_dir():
            hint = f"there are: {', '.join(known)}; or add --format"
            raise SpecError(f"unknown format: {str(out)!r} ends in .{named}", hint)
        return option or default
    if option is not None and option != named:
        hint = f"remove --format, or use --out {out.with_suffix('.' + option)}"
        raise SpecError(f"--format {option} contradicts the file name {str(out)!r}", hint)
    return named
