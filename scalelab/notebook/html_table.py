"""Write a table as HTML; every text is escaped, because names come from files of others."""

from collections.abc import Collection, Sequence
from html import escape

__all__ = ["html_table", "paragraph"]


def html_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[str] = (),
    title: str = "",
) -> str:
    """A <table>; the columns in `numbers` are aligned to the right."""
    heads = "".join(f"<th{_style(name, numbers)}>{escape(name)}</th>" for name in columns)
    lines = [
        "".join(
            f"<td{_style(name, numbers)}>{escape(cell)}</td>"
            for name, cell in zip(columns, row, strict=True)
        )
        for row in rows
    ]
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def paragraph(text: str) -> str:
    """A <p> with the text."""
    return f"<p>{escape(text)}</p>"


def _style(name: str, numbers: Collection[str]) -> str:
    side = "right" if name in numbers else "left"
    return f' style="text-align: {side}"'
