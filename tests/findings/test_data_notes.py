"""What limits every score is said beside every table of a ledger, once for each data set."""

from dataclasses import replace

import pytest

from scalelab.findings.data_notes import data_notes
from scalelab.reporting.page import page
from scalelab.result_tables.documents import as_document
from scalelab.result_tables.result_table import make_table
from scalelab.store.ledger import Ledger

REPEATS = "repeats: 75 % of the test targets are misses only because their users had them before"
TIES = "ties: 50 % of the test targets have the time of the item before"


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create_or_open(tmp_path / "a.duckdb")


def record(fake, index, **columns):
    made = fake.record(index=index)
    run = replace(made.run, protocol="leave-one-out, seen excluded", **columns)
    return replace(made, run=run)


def test_each_data_set_has_its_notes_once(fake, ledger):
    ledger.append([record(fake, n, tied_targets=0.5, repeated_targets=0.75) for n in range(2)])
    ties, repeats = data_notes(ledger)
    assert ties.startswith(TIES)
    assert repeats.startswith(REPEATS)
    other = record(fake, 2, tied_targets=0.01, repeated_targets=0.6)
    other = replace(other, run=replace(other.run, data_fingerprint="other", dataset="shop"))
    ledger.append([other])
    assert sum("ties:" in text for text in data_notes(ledger)) == 1
    assert "shop: repeats: 60 %" in " ".join(data_notes(ledger))
    assert len(data_notes(ledger, {("other", other.run.protocol)})) == 1
    assert data_notes(ledger, {("other", "temporal 0.9, seen included")}) == []


def test_notes_on_two_splits_of_one_data_set_name_them(fake, ledger):
    made = [record(fake, n, tied_targets=(n + 1) / 10) for n in range(2)]
    run = replace(made[1].run, protocol="temporal 0.9, seen excluded")
    ledger.append([made[0], replace(made[1], run=run)])
    notes = [text for text in data_notes(ledger) if "ties: " in text]
    assert [text.partition(": ties: ")[0] for text in notes] == [
        "leave-one-out, seen excluded",
        "temporal 0.9, seen excluded",
    ]


def test_where_seen_items_count_repeats_are_no_misses(fake, ledger):
    made = record(fake, 0, tied_targets=None, repeated_targets=0.9)
    run = replace(made.run, protocol="leave-one-out, seen included")
    ledger.append([replace(made, run=run)])
    assert data_notes(ledger) == []


@pytest.mark.slow
def test_page_and_tables_have_them(fake, ledger):
    ledger.append([record(fake, 0, tied_targets=0.5, repeated_targets=0.75)])
    made = make_table(ledger, rows=("loss",), columns=("dataset",), metrics=("ndcg@10",))
    for text in (page(ledger), *(as_document(made, f) for f in ("markdown", "html"))):
        assert TIES in text
        assert REPEATS in text
    latex = as_document(made, "latex")
    assert r"75 \% of the test targets" in latex
    assert r"data.exclude\_seen" in latex
