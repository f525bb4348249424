"""What a report wrote is shown in a notebook, and is still a list of files."""

import html
import re
from pathlib import Path

import pytest

from scalelab.reporting.page import report
from scalelab.sweeping.result import SweepResult


@pytest.mark.slow
def test_a_page_is_shown_in_place(study, tmp_path):
    files = report(study, tmp_path / "page.html")
    assert files == [tmp_path / "page.html"]
    shown = files._repr_html_()
    inside = re.fullmatch(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', shown)
    assert html.unescape(inside[1]) == files[0].read_text()


@pytest.mark.slow
def test_charts_are_shown_in_place(study, tmp_path):
    shown = report(study, tmp_path / "p.svg", charts=["pareto"])._repr_html_()
    assert shown.startswith("<img ")
    assert "data:image/svg+xml;base64," in shown
    assert "<p>wrote" in report(study, tmp_path / "p.pdf", charts=["pareto"])._repr_html_()


def test_the_result_of_a_sweep_is_a_table():
    result = SweepResult(
        study_id="a", ledger=Path("<a>.duckdb"), counts={"done": 3, "oom": 1}, cells=(),
        interrupted=True,
    )  # fmt: skip
    shown = result._repr_html_()
    assert "<tr><th>done</th><td>3</td></tr><tr><th>oom</th><td>1</td></tr>" in shown
    assert "<a>" not in shown
    assert shown.count("Interrupted") == 1
