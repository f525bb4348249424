"""Write what the command `table` offers: a table, the paragraph of methods, or BibTeX."""

from collections.abc import Sequence
from pathlib import Path

from scalelab.core.errors import SpecError, nearest
from scalelab.result_tables.formats import format_of
from scalelab.result_tables.methods import Methods
from scalelab.result_tables.printed import printed
from scalelab.result_tables.rendering import FORMATS, render
from scalelab.result_tables.result_table import ResultTable
from scalelab.result_tables.rows import as_text

__all__ = ["TABLE_FORMATS", "as_document", "bibtex", "table_format"]

TABLE_FORMATS = (*FORMATS, "csv")
_BY_ENDING = {ending: name for name, ending in FORMATS.items()} | {"csv": "csv"}


def as_document(table: ResultTable, format: str) -> str:
    """The table in one of `TABLE_FORMATS`; csv has raw figures, one per line."""
    if format not in TABLE_FORMATS:
        raise SpecError(f"unknown format: {format!r}", nearest(format, TABLE_FORMATS))
    if format == "csv":
        return as_text(table.figures, "csv")
    return render(printed(table), format, caption="Results on the test split.")


def table_format(option: str | None, out: Path | None) -> str:
    """The format that the option or the ending of the file names, else markdown.

    Raises SpecError where they differ or are not known.
    """
    if option is not None and option not in TABLE_FORMATS:
        raise SpecError(f"unknown format: {option!r}", nearest(option, TABLE_FORMATS))
    ending = None if option is None else {"csv": "csv", **FORMATS}[option]
    return _BY_ENDING[format_of(ending, out, tuple(_BY_ENDING), "md")]


def bibtex(methods: Methods) -> str:
    """The entries of the sources, and a comment on parts that have none."""
    missing: Sequence[str] = methods.without_source
    comment = f"% No source is known for: {', '.join(missing)}\n" if missing else ""
    return comment + "\n".join(source.bibtex for source in methods.sources)
