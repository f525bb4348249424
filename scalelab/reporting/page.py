"""Write a ledger as one self-contained HTML page or as single charts, without network access."""

import io
import json
import tomllib
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import altair as alt
import vl_convert

from scalelab.core import plugins
from scalelab.core.errors import LedgerError, MissingExtra, ScalelabError, SpecError
from scalelab.core.locating import locate, short
from scalelab.reporting import sections
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
    """Writes one page, or where `charts` or another `format` than html is asked for, single charts.

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
    names = list(charts) if charts else chart_names(ledger)
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
    """The charts that the ledger's studies ask for, in their order; else pareto and breakdown."""
    asked: list[str] = []
    for row in ledger.query("SELECT spec_toml FROM studies ORDER BY created_at").to_pylist():
        try:
            charts = tomllib.loads(row["spec_toml"]).get("charts", _DEFAULT)
        except tomllib.TOMLDecodeError:
            charts = _DEFAULT
        asked += charts
    return list(dict.fromkeys(asked)) or list(_DEFAULT)


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
        content = _filled(file.stem, _chart_section(file.stem, chart)).encode()
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
    title = sections.title(ledger)
    parts = [sections.head(ledger, title)]
    parts += [_drawn_or_reason(ledger, name) for name in names]
    parts += [
        sections.pareto_fronts(ledger),
        sections.configurations(ledger),
        sections.runs(ledger),
        sections.unfinished(ledger),
        sections.environments(ledger),
        sections.studies(ledger),
        sections.foot(ledger),
    ]
    return _filled(title, "\n".join(part for part in parts if part))


def _drawn_or_reason(ledger: Ledger, name: str) -> str:
    """A chart that is not there (a ledger may come from another machine) must not cost the page."""
    try:
        return _chart_section(short(name), draw(ledger, name), short(name))
    except (SpecError, MissingExtra) as error:
        words = escape(f"This chart could not be drawn: {error.message}.")
        return f"<h2>{escape(short(name))}</h2>\n<p>{words}</p>"


def _chart_section(name: str, chart: alt.Chart, heading: str = "") -> str:
    # Inside a script element only "<" could end it; JSON may write it as an escape.
    spec = json.dumps(chart.to_dict()).replace("<", "\\u003c")
    top = f"<h2>{escape(heading.capitalize())}</h2>\n" if heading else ""
    return (
        f'{top}<div class="chart" data-name="{escape(name)}">'
        f'<script type="application/json">{spec}</script></div>'
    )


def _filled(title: str, body: str) -> str:
    template = Template(
        resources.files("scalelab.reporting").joinpath("page.html").read_text("utf-8")
    )
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
        "</script", "<\\/script"
    )
    return template.substitute(title=escape(title), body=body, bundle=bundle)


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
