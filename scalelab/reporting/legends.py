"""Break long labels of a legend into lines, so that none is cut."""

import json
import textwrap
from collections.abc import Sequence

__all__ = ["LETTER", "label_lines"]

# The mean width of a letter, in sizes of it.
LETTER = 0.52


def label_lines(names: Sequence[str], width: float, size: float) -> str | None:
    """An expression of Vega that breaks each label into lines of at most `width` pixels of letters
    of this `size`; None where all are short enough.
    """
    most = max(10, int(width / (LETTER * size)))
    if max(map(len, names), default=0) <= most:
        return None
    lines = {name: textwrap.wrap(name, most, break_on_hyphens=False) for name in names}
    return f"{json.dumps(lines)}[datum.label]"
