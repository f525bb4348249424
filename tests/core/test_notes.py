"""Notes appear from their limit on and only where they apply, and hold the numbers."""

import pytest

from scalelab.core.notes import note_on_account, note_on_old_runs, notes_on_targets


@pytest.mark.parametrize("error", [None, 0.0, 0.001, -0.001])
def test_an_account_within_a_thousandth_has_no_note(error):
    assert note_on_account(error) == ""


@pytest.mark.parametrize("error", [0.0123, -0.0123])
def test_an_account_that_is_further_off_has_one_whatever_the_direction(error):
    assert "1.23 %" in note_on_account(error)


def test_ties_are_noted_only_where_the_order_of_the_file_decides():
    def notes(tied, ties="file"):
        return notes_on_targets(tied, 0.0, ties=ties, exclude_seen=True)

    assert notes(None) == notes(0.049) == notes(0.44, "hash") == []
    [note] = notes(0.44)
    assert note.startswith("ties: 44 %")


def test_repeats_are_noted_only_where_seen_items_are_excluded():
    def notes(repeated, exclude_seen=True):
        return notes_on_targets(None, repeated, ties="file", exclude_seen=exclude_seen)

    assert notes(None) == notes(0.5) == notes(0.9, exclude_seen=False) == []
    [note] = notes(0.9)
    assert note.startswith("repeats: 90 %")


def test_old_runs_are_counted_with_their_versions():
    assert note_on_old_runs({2: 1}, 3).startswith("1 finished run has version 2 ")
    several = note_on_old_runs({None: 4, 2: 1}, 3)
    assert several.startswith("5 finished runs have no results version and version 2 ")
    assert "version 3" in several
