"""The format of a file: the option, else the ending of its name, and never both."""

from pathlib import Path

import pytest

from scalelab.core.errors import SpecError
from scalelab.result_tables.formats import format_of

KNOWN = ("html", "png")


@pytest.mark.parametrize(
    ("option", "out", "expected"),
    [
        (None, None, "html"),
        ("png", None, "png"),
        (None, "chart.PNG", "png"),
        ("png", "chart.png", "png"),
        ("png", "folder", "png"),
        ("png", "v1.2", "png"),
        (None, "folder", "html"),
    ],
)
def test_the_option_wins_over_the_default_and_the_ending_is_read(option, out, expected):
    assert format_of(option, None if out is None else Path(out), KNOWN, "html") == expected


@pytest.mark.parametrize(
    ("option", "out", "hint"),
    [
        ("gif", None, "there are: html, png"),
        (None, "chart.gif", "there are: html, png; or add --format"),
        ("html", "chart.png", "remove --format, or use --out chart.html"),
    ],
)
def test_unknown_formats_and_contradictions_are_refused(option, out, hint):
    with pytest.raises(SpecError) as caught:
        format_of(option, None if out is None else Path(out), KNOWN, "html")
    assert caught.value.hint == hint


def test_a_folder_may_have_a_dot_in_its_name(tmp_path):
    folder = tmp_path / "run.2"
    folder.mkdir()
    assert format_of(None, folder, KNOWN, "html") == "html"
