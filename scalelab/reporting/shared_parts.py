"""Find what several texts such as "synthetic, 1,000 items" share, so that it is written once."""

from collections.abc import Mapping, Sequence

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


def findings(found: Mapping[str, str]) -> str:
    """One text of the sentences on all data sets and machines of a chart; "" where there is none.

    A line each, after its name where the chart has several, also where only one has a sentence.
    """
    names, _ = without_shared(list(found))
    lines = [
        f"{name}: {words}" if len(found) > 1 else words
        for name, words in zip(names, found.values(), strict=True)
        if words
    ]
    more = len(lines) - _MOST
    if more > 0:
        lines[_MOST:] = [f"{more} more {'is' if more == 1 else 'are'} not written out here."]
    return "\n".join(lines)
