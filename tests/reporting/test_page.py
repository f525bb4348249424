"""The page: whole, offline, escaped; single charts in every format."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from scalelab.core import plugins
from scalelab.core.errors import LedgerError, SpecError
from scalelab.core.records import Baseline, Outcome
from scalelab.reporting import page
from scalelab.store.ledger import Ledger


class Reader(HTMLParser):
    """Collects what a browser would fetch, run and show."""

    def __init__(self):
        super().__init__()
        self.fetched, self.scripts, self.words, self.tags = [], [], [], []
        self.inside = None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.fetched += [v for k, v in given.items() if k in ("src", "href", "data", "action")]
        if tag in ("script", "style"):
            self.inside = tag
            self.scripts.append([given.get("type"), ""])

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1][1] += data
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def written(study):
    """The page as `report` writes it."""
    files = page.report(study)
    assert files == [study.path.with_suffix(".html")]
    return files[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(written):
    reader = Reader()
    reader.feed(written)
    return reader


@pytest.mark.slow
def test_the_page_fetches_nothing(read, written):
    assert read.fetched == []
    assert "link" not in read.tags
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written)[1]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_page_carries_every_chart_of_the_study(read):
    found = [json.loads(text) for kind, text in read.scripts if kind == "application/json"]
    charts = [one for one in found if "views" in one]
    assert len(charts) == 3  # those that the study names, and the timeline that a run has
    assert all(chart["views"] and chart["datasets"] for chart in charts)
    words = " ".join(read.words)
    for title in (
        "Quality against memory and time",
        "Memory at the training peak, by component",
        "Memory through one training step",
    ):
        assert title in words
    assert any("vegaEmbed" in text and len(text) > 500_000 for _, text in read.scripts)


def test_the_page_shows_results_failures_environment_and_study(read):
    words = " ".join(read.words)
    for wanted in (
        "Configurations",
        "Pareto front",
        "Finished runs (60)",
        "Runs that did not finish",
        "out of memory: 38.1 GiB asked for the logits",
        "predicted 39.2 GiB, limit 24 GiB",
        "AMD EPYC 7763",
        'base = "sasrec-synthetic"',
        "test NDCG@10",
    ):
        assert wanted in words
    for outcome in ("done", "oom", "timeout", "diverged", "skipped", "pruned", "interrupted"):
        assert outcome in words
    for tile in ("out of memory", "out of time", "not started"):
        assert tile in read.words


def test_nothing_in_a_ledger_becomes_markup(read):
    words = " ".join(read.words)
    assert '<script>alert("no")</script>' in words
    assert "it stopped <b>here</b>" in words
    assert "quick <i>start</i>" in words
    assert "i" not in read.tags
    assert not any("alert(" in text for kind, text in read.scripts if kind != "application/json")


HOSTILE = "</script><script>alert('hostile')</script><img src=x onerror=alert(1)>"


@pytest.mark.slow
def test_no_name_from_data_becomes_markup(fake, tmp_path):
    """Names of data, losses, models, devices, hosts, settings, phases and baselines."""
    made = fake.record(dataset=HOSTILE)
    spec = json.loads(made.run.spec)
    spec["model"]["name"] = spec["loss"]["name"] = HOSTILE
    runs = []
    for number in range(3):
        spec["train"]["optimizer"] = f"{HOSTILE}{number}"
        run = replace(made.run, run_id=str(number), spec=json.dumps(spec), protocol=HOSTILE)
        run = replace(run, fingerprint=str(number), model=HOSTILE, loss=HOSTILE)
        environment = replace(made.environment, device=HOSTILE, host=HOSTILE)
        runs.append(replace(made, run=run, environment=environment))
    failed = replace(runs[0].run, run_id="f", outcome=Outcome.FAILED, error=HOSTILE, phase=HOSTILE)
    ledger = Ledger.create_or_open(tmp_path / "hostile <b>.duckdb")
    ledger.append([*runs, replace(runs[0], run=failed)])
    place = {"data_fingerprint": made.run.data_fingerprint, "protocol": HOSTILE}
    for split in ("valid", "test"):
        figure = {"split": split, "metric": "ndcg", "k": 10, "value": 0.1, "seconds": 1.0}
        ledger.add_baselines([Baseline(name=HOSTILE, **place, **figure)])
    ledger.add_study("s", HOSTILE, HOSTILE, made.run.started_at)
    reader = Reader()
    reader.feed(page.page(ledger, charts=plugins.available("charts")))
    assert reader.fetched == []
    assert not {"img", "b>"} & set(reader.tags)
    # The drawing code, that of the page, the dark colours, the settings, and one for each chart.
    assert reader.tags.count("script") == 4 + len(plugins.available("charts"))
    assert not any("hostile" in text for kind, text in reader.scripts if kind is None)
    assert " ".join(reader.words).count(HOSTILE) > 10
    (file,) = page.report(ledger, tmp_path / "kinds.html", charts=["kinds"])
    one = Reader()
    one.feed(file.read_text(encoding="utf-8"))
    assert (one.fetched, one.tags.count("script")) == ([], 4)


def test_an_empty_ledger_has_a_page(empty):
    text = page.page(empty)
    assert "no runs yet" in text
    assert "no finished runs" in text


@pytest.mark.parametrize(
    ("format", "start"),
    [
        ("png", b"\x89PNG"),
        ("svg", b"<svg"),
        ("pdf", b"%PDF"),
        ("json", b"{"),
        ("html", b"<!DOCTYPE"),
    ],
)
def test_a_chart_is_written_in_every_format(study, tmp_path, format, start):
    files = page.report(study, tmp_path, charts=["prediction"], format=format)
    assert files == [tmp_path / f"prediction.{format}"]
    assert files[0].read_bytes().startswith(start)


@pytest.mark.slow
def test_out_names_the_file_of_one_chart_and_the_folder_of_several(study, tmp_path):
    one = tmp_path / "one.json"
    assert page.report(study, one, charts=["kinds"], format="json") == [one]
    several = page.report(study, tmp_path / "new", charts=["kinds", "scaling"], format="json")
    assert several == [tmp_path / "new" / "kinds.json", tmp_path / "new" / "scaling.json"]
    assert all(file.is_file() for file in several)


@pytest.mark.slow
def test_the_name_of_the_file_is_its_form(study, tmp_path):
    (file,) = page.report(study, tmp_path / "kinds.png", charts=["kinds"])
    assert file.read_bytes().startswith(b"\x89PNG")
    (file,) = page.report(study, tmp_path / "page.html")
    assert file.read_bytes().startswith(b"<!DOCTYPE")
    with pytest.raises(SpecError, match=r"html contradicts .*kinds\.png") as caught:
        page.report(study, tmp_path / "kinds.png", charts=["kinds"], format="html")
    assert "kinds.html" in caught.value.hint
    assert file.is_file()
    with pytest.raises(SpecError, match=r"page\.bmp.* ends in \.bmp"):
        page.report(study, tmp_path / "page.bmp")
    assert not (tmp_path / "page.bmp").exists()


def test_unknown_names_and_places_give_one_line(study, tmp_path):
    with pytest.raises(SpecError, match="no chart called 'parteo'") as caught:
        page.report(study, tmp_path, charts=["parteo"], format="json")
    assert "pareto" in caught.value.hint
    with pytest.raises(SpecError, match="format"):
        page.report(study, tmp_path, charts=["pareto"], format="gif")
    with pytest.raises(SpecError, match="no option"):
        page.draw(study, "pareto", colour="red")
    with pytest.raises(LedgerError, match="cannot write"):
        page.report(study, tmp_path.joinpath("/proc/none/a.json"), charts=["kinds"], format="json")


def test_charts_come_from_the_studies(study, empty):
    assert page.chart_names(study) == ["pareto", "breakdown", "timeline"]
    assert page.chart_names(empty) == ["pareto", "breakdown", "learning"]
