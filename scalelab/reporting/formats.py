"""Decide in which format a file is written, from an option and from the name of the file."""

from collections.abc import Collection
from pathlib import Path

from scalelab.core.errors import SpecError

__all__ = ["format_of"]


def format_of(asked: str | None, out: Path | None, known: Collection[str], default: str) -> str:
    """The format that `asked` names, else the one that the ending of `out` names, else `default`.

    Raises SpecError for a format that is not among the `known`, or where option and ending differ:
    nobody would look for a page in a file called chart.png.
    """
    if asked is not None and asked not in known:
        raise SpecError(f"unknown format: {asked!r}", f"there are: {', '.join(known)}")
    if out is None:
        return asked or default
    named = out.suffix.lstrip(".").lower()
    if named not in known:
        if asked is None and named and not out.is_dir():
            hint = f"there are: {', '.join(known)}; or add --format"
            raise SpecError(f"unknown format: {str(out)!r} ends in .{named}", hint)
        return asked or default
    if asked is not None and asked != named:
        hint = f"remove --format, or use --out {out.with_suffix('.' + asked)}"
        raise SpecError(f"--format {asked} contradicts the file name {str(out)!r}", hint)
    return named
