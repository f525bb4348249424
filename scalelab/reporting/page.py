"""Write a ledger as one self-contained HTML page or as single charts, without network access."""

import io
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from scalelab.core import plugins
from scalelab.core.chart_names import by_metric, name_and_options
from scalelab.core.errors import LedgerError, MissingExtra, ScalelabError, SpecError
from scalelab.core.locating import absolute, locate, short
from scalelab.core.whole_file import whole_file
from scalelab.findings.data_notes import data_notes
from scalelab.findings.result import as_html
from scalelab.findings.sentences import answer
from scalelab.reporting import sections
from scalelab.reporting.configurations import collect
from scalelab.reporting.looks import drawn_for, split_looks
from scalelab.reporting.theme import DARK, colour_of
from scalelab.reporting.views import Keys, split
from scalelab.reporting.written import WrittenFiles
from scalelab.result_tables.formats import format_of
from scalelab.store.ledger import Ledger

__all__ = ["chart_names", "draw", "page", "report", "save_chart"]

Chart = str | dict[str, Any]
_DEFAULT: tuple[Chart, ...] = ("pareto", "breakdown", "learning")
# A loss with several numbers of negatives.
_VARIED_NEGATIVES = """
SELECT loss FROM configurations WHERE num_negatives > 0
GROUP BY data_fingerprint, device, loss HAVING count(DISTINCT num_negatives) > 1 LIMIT 1
"""
_FORMATS = ("html", "png", "svg", "pdf", "json")


def report(
    ledger: Ledger,
    out: Path | None = None,
    *,
    charts: Sequence[Chart] | None = None,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    metric: str | None = None,
    refresh_s: float | None = None,
) -> WrittenFiles:
    """Writes one page, or where `charts` or another `format` than html is requested, single charts.

    `out` is the page's file (default: the ledger's name with .html), a chart's file where there is
    one chart, or a folder for several. Its name decides the format where none is given. `options`
    are those of each chart, `metric` is what charts of quality show; with `refresh_s` the page
    loads itself again so often. Returns the files. Raises SpecError for an unknown chart, option,
    metric or format, and for a format that contradicts the file's name; LedgerError where a file
    cannot be written.
    """
    format = format_of(format, out, _FORMATS, "html")
    if charts is None and format == "html":
        file = _in_folder(out, f"{ledger.path.stem}.html") or ledger.path.with_suffix(".html")
        _write(file, page(ledger, metric=metric, refresh_s=refresh_s).encode())
        return WrittenFiles([file])
    # A chart's file on the command line is looked for in the working folder.
    if metric is not None and options and "metric" in options:
        message = f"two metrics: {metric} and, among the options, {options['metric']}"
        raise SpecError(message, "leave out --metric or --set metric=...")
    chosen = absolute(list(charts), Path.cwd()) if charts else chart_names(ledger)
    named = [by_metric(chart, metric, is_named=bool(charts)) for chart in chosen]
    drawn = [_draw(ledger, name, {**own, **(options or {})})[0] for name, own in named]
    if out is not None and len(named) == 1 and not out.is_dir():
        files = [out]
    else:
        if out is not None and out.suffix.lstrip(".").lower() in _FORMATS and not out.is_dir():
            message = f"--out {out} is the name of one file, and there are {len(named)} charts"
            raise SpecError(message, f"name a folder: --out {out.with_suffix('')}")
        files = [(out or Path()) / f"{stem}.{format}" for stem in _stems(named)]
    for file, chart in zip(files, drawn, strict=True):
        save_chart(chart, file, format)
    return WrittenFiles(files)


def _stems(named: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """A name for the file of each chart; a chart that is drawn twice gets a number."""
    stems = [short(name).replace(":", "-") for name, _ in named]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{stems[: place + 1].count(stem)}"
        for place, stem in enumerate(stems)
    ]


def chart_names(ledger: Ledger) -> list[Chart]:
    """The charts that the studies of the ledger name, in their order, else the usual ones.

    That of the timeline is among them where a run has one.
    """
    found: list[Chart] = []
    for row in ledger.query("SELECT spec_toml FROM studies ORDER BY created_at").to_pylist():
        try:
            charts = tomllib.loads(row["spec_toml"]).get("charts", ())
        except tomllib.TOMLDecodeError:
            charts = ()
        found += [chart for chart in charts if chart not in found]
    if found in ([], list(_DEFAULT)):  # a study is stored with its default charts
        found = list(_DEFAULT)
        if ledger.query(_VARIED_NEGATIVES).num_rows:
            found.append({"name": "scaling", "by": "num_negatives"})
        if ledger.query("SELECT 1 FROM metrics WHERE name = 'popularity' LIMIT 1").num_rows:
            found.append("popularity")
    is_named = any(name_and_options(chart)[0] == "timeline" for chart in found)
    if not is_named and ledger.query("FROM timeline LIMIT 1").num_rows:
        found.append("timeline")
    return found


def draw(ledger: Ledger, name: str, **options: Any) -> alt.Chart:
    """One chart by name. Raises SpecError for an unknown name or option, and for a broken chart."""
    return _draw(ledger, name, options)[0]


def _draw(ledger: Ledger, name: str, options: dict[str, Any]) -> tuple[alt.Chart, str]:
    """The chart, and what it shows in words where it says so."""
    looks, options = split_looks(options)
    options = drawn_for(looks, plugins.options("charts", name), options)
    checked = plugins.check_options("charts", name, options)
    chart = plugins.made("charts", name, **checked)
    place = locate("charts", name)
    try:
        rows = chart.rows(ledger)
        finding = chart.finding(rows) if hasattr(chart, "finding") else ""
        return looks.of(chart.draw(rows)), finding
    except ScalelabError:
        raise
    except Exception as error:
        if place.in_tree:
            raise
        raise SpecError(f"{place} failed: {type(error).__name__}: {error}") from error


def save_chart(chart: alt.Chart, file: Path, format: str) -> None:
    """Writes a chart as html, png, svg, pdf or json (its Vega-Lite spec). Raises LedgerError."""
    if format == "html":
        shown = _chart(file.stem, chart.to_dict(), Keys())
        content = _rendered(title=shown["heading"] or file.stem, charts=[shown]).encode()
    elif format == "json":
        content = chart.to_json(indent=2).encode()
    else:
        stream = io.StringIO() if format == "svg" else io.BytesIO()
        chart.save(stream, format=_saved(format), scale_factor=2 if format == "png" else 1)
        value = stream.getvalue()
        content = value.encode() if isinstance(value, str) else value
    _write(file, content)


def page(
    ledger: Ledger,
    charts: Sequence[Chart] | None = None,
    *,
    metric: str | None = None,
    refresh_s: float | None = None,
) -> str:
    """The whole report as one HTML document; with `refresh_s` it loads itself again so often.

    `metric` is what its charts of quality show, and a column of its table.
    """
    keys = Keys()
    with ledger.reading():
        chosen = list(charts) if charts else chart_names(ledger)
        made = ledger.query("SELECT created_by FROM meta").to_pylist()[0]["created_by"]
        found = collect(ledger, keys, metric)
        tables: dict[str, Any] = {
            "title": sections.title(ledger),
            "notes": data_notes(ledger),
            "head": sections.head(ledger),
            "sections": sections.sections(ledger),
            "studies": sections.studies(ledger),
        }
    return _rendered(
        **tables,
        answer=as_html(answer(ledger), on_page=True),
        configurations=found,
        losses=[(name, colour_of(name)) for name in sorted({row.loss for row in found.rows})],
        charts=[_drawn_or_reason(ledger, by_metric(chart, metric), keys) for chart in chosen],
        source=f"Drawn from {ledger.path.name}, created by {made}. This page needs no network.",
        refresh_s=refresh_s,
    )


def _drawn_or_reason(
    ledger: Ledger, chart: tuple[str, dict[str, Any]], keys: Keys
) -> dict[str, Any]:
    """A chart that is not there (a ledger may come from another machine) must not cost the page."""
    name, options = chart
    try:
        drawn, finding = _draw(ledger, name, options)
        return _chart(short(name), drawn.to_dict(), keys, finding)
    except (SpecError, MissingExtra) as error:
        words = f"This chart could not be drawn: {error.message}."
        heading = short(name).capitalize() if ":" not in name else short(name)
        return {"name": short(name), "heading": heading, "reason": words}


def _chart(name: str, spec: dict[str, Any], keys: Keys, finding: str = "") -> dict[str, Any]:
    """A chart as the template shows it: its views by their headings, and their data once."""
    parts = split(spec, keys)
    groups: dict[str, dict[str, Any]] = {}
    drawn: list[dict[str, Any]] = []
    for view in parts.views:
        group = groups.setdefault(view.group, {"heading": view.group, "views": [], "tables": []})
        if view.listing:
            group["tables"].append(sections.plain_table(view.listing))
        else:
            group["views"].append({"title": view.title, "number": len(drawn)})
            drawn.append(view.spec)
    return {
        "name": name,
        "heading": parts.title,
        "finding": finding,
        "notes": parts.notes,
        "legends": [one for one in parts.legends.values() if one.column != "loss"],
        "groups": list(groups.values()),
        "data": {"datasets": parts.datasets, "views": drawn},
    }


def _rendered(**content: Any) -> str:
    empty = {
        "head": None,
        "answer": "",
        "notes": [],
        "configurations": None,
        "losses": [],
        "sections": [],
        "studies": [],
    }
    empty |= {"source": "", "refresh_s": None}
    template = _environment().get_template("page.html")
    return template.render(empty | content, bundle=_bundle(), dark=DARK)


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
        with whole_file(file) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise LedgerError(f"cannot write {file}: {error.strerror}", "give another --out") from error
