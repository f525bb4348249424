"""The answer is the same in the terminal, on the page and as JSON, and its command can be typed."""

import html
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from .test_sweep import STUDY


@pytest.fixture
def study(plain_environment: Path) -> Path:
    path = plain_environment / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def flat(text: str) -> str:
    """Words without the places where lines were broken."""
    return " ".join(text.split())


@pytest.mark.slow
def test_it_is_the_same_everywhere_and_its_command_can_be_typed(
    scalelab: Callable, study: Path
) -> None:
    swept = scalelab("sweep", study.name, "--executor", "inline")
    text = scalelab("answer", "tiny.duckdb", "--json").document["text"]
    *sentences, last = text.splitlines()
    assert len(sentences) == 1
    assert flat(text) in flat(swept.out)
    assert flat(scalelab("answer", "tiny.duckdb").out) == flat(text)
    assert scalelab("report", "tiny.duckdb", "--out", "page.html").code == 0
    section = re.search(r'<section id="answer"[^>]*>(.*?)</section>', Path("page.html").read_text())
    assert section
    words = html.unescape(re.sub("<[^>]*>", " ", section[1]))
    assert flat(words) == flat(text)
    again = scalelab("sweep", study.name, "--executor", "inline", "--json", "--quiet").document
    assert again["answer"]["text"] == text
    (sentence,) = again["answer"]["sentences"]
    assert sentence["best"]["test_ndcg_10"] is not None
    # What to type next starts new runs of the same four configurations.
    assert last == f"Next: {sentence['next']}"
    program, *typed = shlex.split(sentence["next"])
    assert (program, typed[:2]) == ("scalelab", ["sweep", "tiny.toml"])
    done = scalelab(*typed, "--dry-run")
    assert done.code == 0
    assert "4 of 4 runs would start" in done.err


def test_a_budget_and_a_study_are_taken(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("answer", ledger, "--budget", "1KiB")
    assert (done.code, "No configuration fits in 1 KiB" in done.out) == (0, True)
    assert scalelab("answer", ledger, "--study", "small").code == 0
    wrong = scalelab("answer", ledger, "--study", "smal")
    assert wrong.code == 2
    assert wrong.out == ""


def test_a_budget_without_unit_or_ledger_is_one_clear_line(
    scalelab: Callable, ledger: Path
) -> None:
    assert scalelab("answer", ledger, "--budget", "3parsecs").code == 2
    missing = scalelab("answer", "nothing.duckdb")
    assert missing.code != 0
    assert "nothing.duckdb" in missing.err
