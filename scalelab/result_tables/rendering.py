"""Write a table as markdown, LaTeX or HTML by a template; every text is escaped."""

import html
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from scalelab.result_tables.printed import PrintedTable

__all__ = ["FORMATS", "escape_latex", "escape_markdown", "render"]

# Of each format the ending of its files; csv holds raw figures and has no template.
FORMATS = {"markdown": "md", "latex": "tex", "html": "html"}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "\N{DAGGER}": r"\dag{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_\[\]|<>~&])")


def render(table: PrintedTable, format: str, *, caption: str) -> str:
    """The document in one of `FORMATS`."""
    template = _environment(format).get_template(f"table.{FORMATS[format]}")
    return template.render(table=table, caption=caption)


def escape_latex(text: Any) -> str:
    """`text` for LaTeX with T1 fonts, on one line."""
    plain = _CONTROLS.sub(" ", str(text))
    return "".join(_LATEX.get(character, character) for character in plain)


def escape_markdown(text: Any) -> str:
    """`text` for the inside of a markdown table, on one line."""
    return _MARKDOWN.sub(r"\\\1", _CONTROLS.sub(" ", str(text)))


def _escape_html(text: Any) -> str:
    return html.escape(_CONTROLS.sub(" ", str(text)))


_ESCAPES: Mapping[str, Callable[[Any], str]] = {
    "markdown": escape_markdown,
    "latex": escape_latex,
    "html": _escape_html,
}


@cache
def _environment(format: str) -> Environment:
    """What a template prints is escaped for its format; what it contains itself is not."""
    # Other signs than Jinja's usual ones: templates of LaTeX are full of braces.
    return Environment(
        loader=PackageLoader("scalelab.result_tables", "."),
        undefined=StrictUndefined,
        finalize=_ESCAPES[format],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
