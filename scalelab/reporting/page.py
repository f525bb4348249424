"""Write a ledger as one self-contained HTML page or as single charts, without network access."""

import io
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from scalelab.core import plugins
from scalelab.core.errors import LedgerError, MissingExtra, ScalelabError, SpecError
from scalelab.core.locating import absolute, locate, short
from scalelab.reporting import sections
from scalelab.reporting.answer.result import as_html
from scalelab.reporting.answer.sentences import answer
from scalelab.reporting.formats import format_of
from scalelab.store.ledger import Ledger

__all__ = ["chart_names", "draw", "page", "report", "save_chart"]

_DEFAULT = ("pareto", "breakdown")
_FORMATS = ("html", "png", "svg", "pdf", "json")


def report(
    ledger: Ledger,
    out: Path | None = None,
    *,
    charts: Sequence[str] | None = None,
    format: str | None = None,
) -> list[Path]:
    """Writes one page, or where `charts` or another `format` than html is requested, single charts.

    `out` is the page's file (default: the ledger's name with .html), a chart's file where there is
    one chart, or a folder for several. Its name decides the format where none is given. Returns the
    files. Raises SpecError for an unknown chart or format, or one that contradicts the file's name;
    LedgerError where a file cannot be written.
    """
    format = format_of(format, out, _FORMATS, "html")
    if charts is None and format == "html":
        file = _in_folder(out, f"{ledger.path.stem}.html") or ledger.path.with_suffix(".html")
        _write(file, page(ledger).encode())
        return [file]
    # A chart's file on the command line is looked for in the working folder.
    names = absolute(list(charts), Path.cwd()) if charts else chart_names(ledger)
    drawn = {name: draw(ledger, name) for name in names}
    if out is not None and len(names) == 1 and not out.is_dir():
        files = [out]
    else:
        stems = [short(name).replace(":", "-") for name in names]
        files = [(out or Path()) / f"{stem}.{format}" for stem in stems]
    for file, chart in zip(files, drawn.values(), strict=True):
        save_chart(chart, file, format)
    return files


def chart_names(ledger: Ledger) -> list[str]:
    """The charts that the studies of the ledger name, in their order; else pareto and breakdown."""
    names: list[str] = []
    for row in ledger.query("SELECT spec_toml FROM studies ORDER BY created_at").to_pylist():
        try:
            charts = tomllib.loads(row["spec_toml"]).get("charts", _DEFAULT)
        except tomllib.TOMLDecodeError:
            charts = _DEFAULT
        names += charts
    return list(dict.fromkeys(names)) or list(_DEFAULT)


def draw(ledger: Ledger, name: str, **options: Any) -> alt.Chart:
    """One chart by name. Raises SpecError for an unknown name or option, and for a broken chart."""
    checked = plugins.check_options("charts", name, options)
    chart = plugins.made("charts", name, **checked)
    place = locate("charts", name)
    try:
        return chart.draw(chart.rows(ledger))
    except ScalelabError:
        raise
    except Exception as error:
        if place.in_tree:
            raise
        raise SpecError(f"{place} failed: {type(error).__name__}: {error}") from error


def save_chart(chart: alt.Chart, file: Path, format: str) -> None:
    """Writes a chart as html, png, svg, pdf or json (its Vega-Lite spec). Raises LedgerError."""
    if format == "html":
        content = _rendered(title=file.stem, charts=[_chart(file.stem, chart)]).encode()
    elif format == "json":
        content = chart.to_json(indent=2).encode()
    else:
        stream = io.StringIO() if format == "svg" else io.BytesIO()
        chart.save(stream, format=_saved(format), scale_factor=2 if format == "png" else 1)
        value = stream.getvalue()
        content = value.encode() if isinstance(value, str) else value
    _write(file, content)


def page(ledger: Ledger, charts: Sequence[str] | None = None) -> str:
    """The whole report as one HTML document."""
    names = list(charts) if charts else chart_names(ledger)
    made = ledger.query("SELECT created_by FROM meta").to_pylist()[0]["created_by"]
    return _rendered(
        title=sections.title(ledger),
        answer=as_html(answer(ledger)),
        head=sections.head(ledger),
        charts=[_drawn_or_reason(ledger, name) for name in names],
        sections=sections.sections(ledger),
        studies=sections.studies(ledger),
        source=f"Drawn from {ledger.path.name}, created by {made}. This page needs no network.",
    )


def _drawn_or_reason(ledger: Ledger, name: str) -> dict[str, Any]:
    """A chart that is not there (a ledger may come from another machine) must not cost the page."""
    heading = short(name).capitalize() if ":" not in name else short(name)
    try:
        return _chart(short(name), draw(ledger, name), heading)
    except (SpecError, MissingExtra) as error:
        words = f"This chart could not be drawn: {error.message}."
        return {"name": short(name), "heading": heading, "reason": words}


def _chart(name: str, chart: alt.Chart, heading: str = "") -> dict[str, Any]:
    return {"name": name, "heading": heading, "spec": chart.to_dict()}


def _rendered(**content: Any) -> str:
    empty = {"head": None, "answer": "", "sections": [], "studies": [], "source": ""}
    return _environment().get_template("page.html").render(empty | content, bundle=_bundle())


@cache
def _environment() -> Environment:
    """Names and errors come from files that anybody may have written: all is escaped."""
    loader = PackageLoader("scalelab.reporting", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment


@cache
def _bundle() -> str:
    """The JavaScript that draws the charts, the same for every ledger."""
    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code.replace("</script", "<\\/script")


def _saved(format: str) -> Any:
    # Altair types its formats as literals; here they come from a person and were checked.
    return format


def _in_folder(out: Path | None, name: str) -> Path | None:
    return out / name if out is not None and out.is_dir() else out


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise LedgerError(f"cannot write {file}: {error.strerror}", "give another --out") from error
