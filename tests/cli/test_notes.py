"""Notes on data and on the account reach the person who reads the numbers, once for a command."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scalelab.cli.finished import notes_in_full, short_note
from scalelab.cli.live import LiveState
from scalelab.cli.watch import PlainLines
from scalelab.core.verdicts import AT_BASELINE, BELOW, STILL_RISING

from .simulated import planned, record

RUN = """
[data]
path = "{path}"
exclude_seen = true
[batch]
size = 8
max_len = 8
[model]
name = "sasrec"
hidden_dim = 8
num_blocks = 1
[train]
epochs = 1
"""


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """A run on data whose interactions come two at a time: half of the targets are tied."""
    lines = ["user,item,timestamp"]
    for user in range(30):
        # Odd and even users end in different places of a pair, and the last item is a new one.
        for place in range(7 + user % 2):
            lines.append(f"u{user},i{(user + place) % 15},{1_600_000_000 + 86_400 * (place // 2)}")
    data = tmp_path / "tied.csv"
    data.write_text("\n".join(lines) + "\n")
    run = tmp_path / "run.toml"
    run.write_text(RUN.format(path=data))
    return run


def test_profile_prints_the_note_on_ties_once(scalelab: Callable, tied: Path) -> None:
    done = scalelab("profile", tied, "--quiet")
    assert done.code == 0, done.err
    assert done.out.count("ties: 50 % of the test targets") == 1


@pytest.mark.slow
def test_the_json_of_a_profile_has_the_notes_that_are_printed(
    scalelab: Callable, tied: Path
) -> None:
    done = scalelab("profile", tied, "--quiet")
    document = scalelab("profile", tied, "--quiet", "--json").document
    assert document["tied_targets"] == 0.5
    assert document["notes"] == [line for line in done.out.splitlines() if line.startswith("ties")]
    assert document["notes"]


@pytest.mark.slow
def test_the_results_of_a_sweep_have_the_note_once_for_a_data_set(
    scalelab: Callable, tied: Path
) -> None:
    study = tied.with_name("study.toml")
    study.write_text(f'base = "{tied}"\n[axes]\n"loss.name" = ["cross_entropy", "dense_ce"]\n')
    for _ in range(2):  # the second time nothing runs, and the results are shown again
        done = scalelab("sweep", study, "--executor", "inline", "--quiet")
        assert done.code == 0, done.err
        assert done.out.count("ties: 50 % of the test targets") == 1
    by_hash = scalelab("sweep", study, "--executor", "inline", "--quiet", "--set", "data.ties=hash")
    assert "ties:" not in by_hash.out


def test_an_account_that_is_wrong_is_a_message_of_the_sweep() -> None:
    def ended(error: float | None, state: LiveState) -> None:
        one = record(planned(0))
        state.on_plan("study", "cpu", [planned(0)])
        state.on_run_end(replace(one, run=replace(one.run, account_error=error)))

    lines: list[str] = []
    ended(-0.0123, PlainLines(write=lines.append))
    [note] = [line for line in lines if "account of memory" in line]
    assert note.startswith(planned(0).label)
    assert "1.23 %" in note
    for small in (None, 0.001):
        state = LiveState()
        ended(small, state)
        assert state.snapshot().messages == ()


def test_the_words_of_narrow_columns_are_explained_once() -> None:
    """Sixteen rows with three lines of the same note each hide the figures."""
    notes = ["", f"{AT_BASELINE}; {BELOW} popularity (0.1)", f"{STILL_RISING} (1 of 2 seeds)"]
    lines = notes_in_full([*notes, *notes])
    assert [line.partition(":")[0] for line in lines] == ["baseline", "rising"]
    assert {short_note(note) for note in notes} == {"", "baseline", "rising"}
    assert notes_in_full(["", ""]) == []
