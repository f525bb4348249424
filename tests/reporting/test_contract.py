"""Every chart: draws nothing as nothing, encodes only its own columns, compiles, stays small."""

import json
from dataclasses import replace

import pytest
import vl_convert

from scalelab.core import plugins
from scalelab.store.ledger import Ledger

CHARTS = plugins.available("charts")


@pytest.fixture(scope="module")
def drawn(study):
    """Name to rows and drawn chart, over the made-up study."""
    made = {}
    for name in CHARTS:
        chart = plugins.load("charts", name)()
        rows = chart.rows(study)
        made[name] = (rows, chart.draw(rows).to_dict())
    return made


def texts(spec):
    return json.dumps(spec)


def encoded_fields(spec, data=None):
    """Every field that an encoding names, with the name of the data set it is looked up in."""
    if isinstance(spec, list):
        for inner in spec:
            yield from encoded_fields(inner, data)
    elif isinstance(spec, dict):
        data = spec.get("data", {}).get("name", data)
        for key, inner in spec.items():
            if key == "encoding":
                for channel in inner.values():
                    for part in channel if isinstance(channel, list) else [channel]:
                        for named in (part, part.get("condition", {})):
                            if "field" in named:
                                yield data, named["field"]
            elif key != "datasets":
                yield from encoded_fields(inner, data)


def computed(spec):
    """Names that transforms inside the chart add."""
    found = set()

    def note(part):
        found.update(_added(part))
        return part

    json.loads(json.dumps(spec), object_hook=note)
    return found


def _added(part):
    names = [part["as"]] if isinstance(part.get("as"), str) else []
    return names + [op["as"] for op in part.get("aggregate", []) if isinstance(op, dict)]


@pytest.mark.parametrize("name", CHARTS)
def test_an_empty_ledger_draws_and_says_so(empty, name):
    chart = plugins.load("charts", name)()
    rows = chart.rows(empty)
    assert rows.num_rows == 0
    spec = chart.draw(rows).to_dict()
    assert "no finished runs" in texts(spec)
    assert vl_convert.vegalite_to_svg(spec)


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.slow
def test_a_study_draws(drawn, name):
    rows, spec = drawn[name]
    assert rows.num_rows
    assert "no finished runs" not in texts(spec)
    assert vl_convert.vegalite_to_vega(spec)["marks"]


def view_names(node):
    """The names of all views, at any depth."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    is_view = isinstance(node, dict) and "name" in node and {"mark", "layer"} & node.keys()
    own = [node["name"]] if is_view else []
    return own + [name for each in inner for name in view_names(each)]


@pytest.mark.parametrize("name", CHARTS)
def test_no_two_views_have_one_name(drawn, name):
    """Vega would draw the data of one of them in both."""
    _, spec = drawn[name]
    names = view_names({key: value for key, value in spec.items() if key != "datasets"})
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", CHARTS)
def test_every_encoded_field_is_a_column_of_its_data(drawn, name):
    _, spec = drawn[name]
    fields = set(encoded_fields(spec))
    assert fields
    added = computed(spec)
    for data, field in fields:
        assert spec["datasets"][data]
        assert field in spec["datasets"][data][0] or field in added, (data, field)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_carries_its_data_and_not_too_much(drawn, name):
    _, spec = drawn[name]
    assert all(len(rows) <= 5000 for rows in spec["datasets"].values())
    assert '"url"' not in texts(spec)


@pytest.mark.parametrize("name", CHARTS)
def test_an_unknown_study_is_an_empty_chart(study, name):
    chart = plugins.load("charts", name)(study="no such study")
    assert chart.rows(study).num_rows == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CHARTS)
def test_one_run_draws(fake, tmp_path, name):
    """Scales of a single value, and figures that were not measured."""
    ledger = Ledger.create_or_open(tmp_path / "one.duckdb")
    made = fake.record(num_events=30)
    bare = replace(made, run=replace(made.run, run_id="bare"), memory=(), metrics=())
    ledger.append([made, bare])
    chart = plugins.load("charts", name)()
    assert vl_convert.vegalite_to_vega(chart.draw(chart.rows(ledger)).to_dict())["marks"]
