"""A format that was asked for and the name of a file in, the format to write out."""

from collections.abc import Collection
from pathlib import Path

from scalelab.core.errors import SpecError

__all__ = ["format_of"]


def format_of(asked: str | None, out: Path | None, known: Collection[str], plain: str) -> str:
    """`asked`, else what the ending of `out` says, else `plain`.

    Raises SpecError for a format that is not among the `known`, or one that the file's name denies:
    a page in a file called chart.png would be found out much later.
    """
    if asked is not None and asked not in known:
        raise SpecError(f"no format {asked!r}", f"there are: {', '.join(known)}")
    if out is None:
        return asked or plain
    named = out.suffix.lstrip(".").lower()
    if named not in known:
        return asked or plain
    if asked is not None and asked != named:
        hint = f"leave --format out, or write --out {out.with_suffix('.' + asked)}"
        raise SpecError(f"--format {asked} into a file called {out}", hint)
    return named
