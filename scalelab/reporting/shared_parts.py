"""Find what several texts such as "synthetic, 1,000 items" share, so that it is written once."""

from collections.abc import Sequence

__all__ = ["findings", "without_shared"]

# More sentences above a chart than people read.
_MOST = 3


def without_shared(texts: Sequence[str]) -> tuple[list[str], str]:
    """The texts without the parts between commas that all of them have, and these parts.

    They stay as they are where all are the same, or where one would be empty or like another.
    """
    split = [text.split(", ") for text in texts]
    if len(set(texts)) < 2:
        return list(texts), ""
    shared = [part for part in split[0] if all(part in parts for parts in split)]
    shorter = [", ".join(part for part in parts if part not in shared) for parts in split]
    if not all(shorter) or len(set(shorter)) < len(set(texts)):
        return list(texts), ""
    return shorter, ", ".join(shared)


def findings(found: Sequence[tuple[str, str]]) -> str:
    """One text of sentences on several data sets or machines: a line each, after its name."""
    if len(found) < 2:
        return "".join(words for _, words in found)
    shown = [f"{name}: {words}" for name, words in found[:_MOST]]
    more = len(found) - len(shown)
    return "\n".join([*shown, *([f"{more} more are in the panels below."] if more else [])])
