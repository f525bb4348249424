import pytest
from typer.testing import CliRunner

from scalelab.cli import app
from scalelab.cli.completion import (
    complete_chart,
    complete_key,
    complete_run_or_study,
    complete_setting,
    complete_study,
)


def names(pairs):
    return [name for name, _ in pairs]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("batch.s", ["batch.size="]),
        ("train.precision=b", ["train.precision=bf16"]),
        ("loss.name=rec", ["loss.name=rece"]),
        ("data.exclude_seen=", ["data.exclude_seen=true", "data.exclude_seen=false"]),
        ("data.reader=mov", ["data.reader=movielens"]),
        ("nothing.", []),
    ],
)
def test_settings_are_completed(typed, expected):
    assert names(complete_setting(typed)) == expected


def test_presets_charts_and_keys_are_completed():
    assert names(complete_study("quick")) == ["quickstart"]
    assert {"sasrec-synthetic", "quickstart"} <= set(names(complete_run_or_study("")))
    assert "pareto" in names(complete_chart("p"))
    assert "search.trials" in names(complete_key("search."))


def test_the_shell_is_told_of_them():
    """As bash asks: through the environment, with the words that are typed so far."""
    environment = {
        "_SCALELAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "scalelab plan sasrec-synthetic --set batch.s",
        "COMP_CWORD": "4",
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="scalelab")
    assert "batch.size=" in done.output
