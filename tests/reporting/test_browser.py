"""The page in a browser, without network: nothing cut off, light and dark, one selection."""

import importlib.util
import json
import sys
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from scalelab.core import plugins
from scalelab.core.spec import RunSpec
from scalelab.reporting import page
from scalelab.store.ledger import Ledger

_SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
browser = importlib.util.module_from_spec(_SPEC)
sys.modules["browser"] = browser
_SPEC.loader.exec_module(browser)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason="no Chromium on the path"),
]
# What sticks out of the screen or of its box; a table that scrolls must say so.
CUT = """
const out = [];
const inside = (element) => element.closest(".scroll, pre");
for (const element of document.querySelectorAll("body *")) {
  const box = element.getBoundingClientRect();
  if (box.width && box.right > innerWidth + 1 && !inside(element) && element.tagName !== "desc")
    out.push([element.tagName, element.className.baseVal ?? element.className, box.right]);
}
for (const box of document.querySelectorAll(".canvas")) {
  const edge = box.getBoundingClientRect();
  const svg = box.querySelector("svg").getBoundingClientRect();
  for (const text of box.querySelectorAll("svg text")) {
    const own = text.getBoundingClientRect();
    if (own.width && (own.right > svg.right + 1.5 || own.left < svg.left - 1.5))
      out.push(["text", text.textContent, own.left, own.right, svg.left, svg.right]);
  }
  if (svg.right > edge.right + 1) out.push(["svg", edge.right, svg.right]);
}
for (const box of document.querySelectorAll(".box")) {
  const inner = box.querySelector(".scroll");
  const hint = box.querySelector(".hint").getBoundingClientRect().height > 0;
  if (inner.clientWidth && hint !== inner.scrollWidth > inner.clientWidth + 1)
    out.push(["hint", hint, inner.scrollWidth, inner.clientWidth]);
}
return { cut: out, wide: document.documentElement.scrollWidth, charts:
  [...document.querySelectorAll(".canvas")].filter((c) => c.querySelector("svg path")).length,
  canvases: document.querySelectorAll(".canvas").length,
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector(".canvas svg text")).fill };
"""


@pytest.fixture(scope="module")
def pages(study, fake, tmp_path_factory):
    """The page of a made-up study with every chart, and that of a ledger of 10,000 runs."""
    folder = tmp_path_factory.mktemp("large")
    large = Ledger.create_or_open(folder / "large.duckdb")
    for start in range(0, 10_000, 1000):
        large.append([_one_of_many(fake, index) for index in range(start, start + 1000)])
    large.add_study("study-1", "large", fake.STUDY_TOML, datetime(2026, 1, 2))
    return {
        "study": page.page(study, plugins.available("charts")),
        "large": page.page(large),
    }


def _one_of_many(fake, index):
    cell = index // 2
    return fake.record(
        index=index,
        loss=fake.LOSSES[cell % 6],
        batch_size=16 * (1 + cell // 6 % 40),
        num_negatives=1 + cell // 240,
        max_len=50 + cell // 600,
        seed=index % 2,
    )


@pytest.mark.parametrize("width", [1280, 800, 390])
@pytest.mark.parametrize("name", ["study", "large"])
def test_nothing_is_cut_off(pages, tmp_path, name, width):
    opened = browser.opened(pages[name], tmp_path, CUT, width=width)
    assert opened.console == []
    assert opened.result["cut"] == []
    assert opened.result["wide"] <= width
    assert opened.result["charts"] == opened.result["canvases"] > 2


TURN = """
const names = () => [...document.querySelectorAll('.chart[data-name="pareto"] svg text')]
  .filter((text) => ["bce", "rece"].includes(text.textContent)).length;
const found = [names()];
for (const width of ["390px", "800px"]) {
  frameElement.style.width = width;
  for (let n = 0; n < 100 && Boolean(names()) === (width === "390px"); n++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  found.push(names());
}
return found;
"""


def test_a_window_that_gets_narrow_loses_the_names_placed_for_a_wide_one(pages, tmp_path):
    opened = browser.opened(pages["study"], tmp_path, TURN, width=800)
    assert opened.console == []
    wide, narrow, again = opened.result
    assert wide
    assert again
    assert not narrow


def test_dark_is_dark_and_light_is_light(pages, tmp_path):
    light = browser.opened(pages["study"], tmp_path / "l", CUT).result
    dark = browser.opened(pages["study"], tmp_path / "d", CUT, dark=True).result
    assert light["paper"] == "rgb(255, 255, 255)"
    assert sum(map(int, dark["paper"][4:-1].split(","))) < 120
    assert sum(map(int, light["ink"][4:-1].split(","))) < 150
    assert sum(map(int, dark["ink"][4:-1].split(","))) > 500


SELECT = """
const rows = () => [...document.querySelectorAll("#configurations tbody tr")]
  .filter((row) => !row.hidden).map((row) => row.dataset.key);
const faded = () => [...document.querySelectorAll(".canvas")].map((canvas) =>
  [...canvas.querySelectorAll("svg path")].filter((path) =>
    Number(path.getAttribute("opacity") ?? 1) === 0.08).length);
const settle = () => new Promise((resolve) => setTimeout(resolve, 300));
const seen = {};
const note = async (name) => { await settle(); seen[name] = { rows: rows(), faded: faded() }; };
await note("start");
const chip = document.querySelector('button[data-column="loss"][data-value="bce"]');
chip.click(); await note("legend");
seen.pressed = chip.getAttribute("aria-pressed");
document.getElementById("clear").click(); await note("cleared");
const slider = document.querySelector('input[data-range="peak_bytes"]');
slider.value = 5; slider.dispatchEvent(new Event("input")); await note("slider");
document.getElementById("clear").click();
const words = document.getElementById("words");
words.value = "rece batch 64"; words.dispatchEvent(new Event("input")); await note("words");
document.getElementById("clear").click();
document.querySelector("#configurations .pin").click(); await note("pin");
document.getElementById("clear").click();
const dragged = views.find((view) => "brush" in view.getState().signals);
dragged.signal("brush_x", [0, 60]).runAsync(); await note("brush");
document.getElementById("clear").click(); await note("end");
const heads = [...document.querySelectorAll("#configurations thead th.number button")];
const peaks = () => [...document.querySelectorAll("#configurations tbody tr")]
  .map((row) => Number(row.dataset.peak_bytes));
const head = heads.find((button) => button.textContent === "training peak");
head.click(); seen.descending = peaks();
head.click(); seen.ascending = peaks();
seen.sort = head.parentElement.getAttribute("aria-sort");
document.querySelectorAll("#configurations .open")[3].click();
const details = document.querySelector("#configurations .details");
seen.details = details.textContent;
seen.toml = details.querySelector("pre").textContent;
seen.key = details.previousElementSibling.dataset.key;
seen.spec = settingsOf(seen.key);
seen.unnamed = [...document.querySelectorAll("button, input, [role=region]")].filter((element) =>
  !(element.textContent.trim() || element.getAttribute("aria-label")
    || element.closest("label")?.textContent.trim())).length;
seen.charts = [...document.querySelectorAll(".canvas svg")].filter((svg) =>
  !(svg.getAttribute("aria-label") ?? svg.querySelector("[aria-label]"))).length;
return seen;
"""


@pytest.fixture(scope="module")
def selected(pages, tmp_path_factory):
    opened = browser.opened(pages["study"], tmp_path_factory.mktemp("select"), SELECT)
    assert opened.console == []
    assert "error" not in opened.result, opened.result
    return opened.result


@pytest.mark.parametrize("how", ["legend", "slider", "words", "brush"])
def test_a_selection_changes_charts_and_table(selected, how):
    start, chosen = selected["start"], selected[how]
    assert 0 < len(chosen["rows"]) < len(start["rows"])
    assert set(chosen["rows"]) < set(start["rows"])
    assert sum(start["faded"]) == 0
    assert sum(count > 0 for count in chosen["faded"]) >= 3
    assert selected["cleared"] == selected["end"] == start


def test_a_pin_keeps_the_table_and_fades_the_charts(selected):
    assert selected["pin"]["rows"] == selected["start"]["rows"]
    assert sum(count > 0 for count in selected["pin"]["faded"]) >= 3
    assert selected["pressed"] == "true"


def test_the_table_sorts_by_number(selected):
    assert selected["descending"] == sorted(selected["descending"], reverse=True)
    assert selected["ascending"] == sorted(selected["ascending"])
    assert selected["sort"] == "ascending"


def test_a_row_shows_what_differs_and_a_file_that_repeats_it(selected):
    assert "the best has" in selected["details"]
    assert "scalelab profile run.toml" in selected["details"]
    read = tomllib.loads(selected["toml"])
    flat = {
        f"{section}.{key}" for section, one in read.items() if isinstance(one, dict) for key in one
    }
    flat |= {
        f"negatives.{n}.{key}" for n, one in enumerate(read.get("negatives", [])) for key in one
    }
    assert flat == set(selected["spec"])


def test_everything_has_a_name_for_screen_readers(selected):
    assert selected["unnamed"] == 0
    assert selected["charts"] == 0


LOOK = """
const settle = () => new Promise((resolve) => setTimeout(resolve, 300));
await settle();
const shown = [...document.querySelectorAll("#configurations tbody tr[data-id]")];
const pressed = [...document.querySelectorAll('button[data-column][aria-pressed="true"]')];
const sorted = document.querySelector("#configurations th[aria-sort]");
return {
  all: shown.length, rows: shown.filter((row) => !row.hidden).map((row) => row.dataset.id).sort(),
  pinned: shown.filter((row) => row.classList.contains("pinned")).map((row) => row.dataset.id),
  numbers: Object.fromEntries(shown.map((row) => [row.dataset.id, row.dataset.key])),
  pressed: pressed.map((one) => one.dataset.column + " " + one.dataset.value),
  words: document.getElementById("words").value,
  fronts: document.getElementById("fronts").checked,
  slider: document.querySelector('input[data-range="train_s"]').nextElementSibling.textContent,
  sort: sorted && [sorted.textContent, sorted.getAttribute("aria-sort")],
  details: [...document.querySelectorAll("#configurations .details")]
    .map((row) => row.previousElementSibling.dataset.id),
  dragged: state.dragged.peak_bytes ?? null,
};
"""
CHOOSE = """
const data = (id) => [...document.querySelectorAll(id)];
data('button[data-column="loss"][data-value="bce"]')[0].click();
data('button[data-column="loss"][data-value="rece"]')[0].click();
const slider = document.querySelector('input[data-range="train_s"]');
slider.value = Math.floor(slider.max / 2); slider.dispatchEvent(new Event("input"));
const words = document.getElementById("words");
words.value = "batch"; words.dispatchEvent(new Event("input"));
const rowOf = (loss) => data(`#configurations tr[data-loss="${loss}"]`)[1];
rowOf("bce").querySelector(".pin").click();
rowOf("rece").querySelector(".open").click();
const head = data("#configurations thead th.number button").at(-1);
head.click(); head.click();
const view = views.find((one) => "brush_peak_bytes" in one.getState().signals);
await view.signal("brush_x", [10, 300]).runAsync();
"""


def test_a_selection_is_kept_when_the_page_loads_again(fake, tmp_path):
    """As it does during a sweep: new results take other places and give rows other numbers."""
    ledger = Ledger.create_or_open(tmp_path / "kept.duckdb")
    ledger.append(fake.study())
    before = page.page(ledger)
    better = [fake.record(index=1000 + n, loss="gbce", batch_size=8, seed=n) for n in range(2)]
    better = [
        replace(one, metrics=tuple(replace(m, value=2 * m.value) for m in one.metrics))
        for one in better
    ]
    ledger.append(better)
    after = page.page(ledger)
    opened = browser.opened(before, tmp_path, CHOOSE + LOOK, then=(after, LOOK))
    assert opened.console == []
    first, second = opened.result
    assert second["all"] == first["all"] + 1
    assert any(second["numbers"][one] != number for one, number in first["numbers"].items())
    assert 0 < len(first["rows"]) < first["all"]
    assert len(first["pinned"]) == len(first["details"]) == 1
    assert first["pressed"] == ["loss bce", "loss rece"]
    for name in ("rows", "pinned", "pressed", "words", "fronts", "slider", "sort", "details"):
        assert second[name] == first[name], name
    assert second["dragged"] == pytest.approx(first["dragged"], rel=0.01)


def test_a_stored_run_is_repeated_from_the_file_of_its_row(fake, tmp_path):
    """The settings that a row shows load as the run that was stored."""
    spec = RunSpec.load("sasrec-synthetic", {"loss.name": "bce", "batch.size": 64})
    made = fake.record()
    ledger = Ledger.create_or_open(tmp_path / "one.duckdb")
    ledger.append([replace(made, run=replace(made.run, spec=spec.as_json()))])
    script = "return toml(settingsOf(rows[0].key));"
    opened = browser.opened(page.page(ledger), tmp_path / "b", script)
    file = tmp_path / "run.toml"
    file.write_text(opened.result, encoding="utf-8")
    assert json.loads(RunSpec.load(file).as_json()) == json.loads(spec.as_json())
