"""The writing thread: batches, receipts, and errors that reach who asked."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from scalelab.core.errors import LedgerError
from scalelab.store.ledger import WaitingRecords
from scalelab.store.opening import LedgerBusy
from scalelab.store.writer import LedgerWriter

# Nobody holds the ledger in these tests: nothing is written there.
WAITING = WaitingRecords(Path("never-written.duckdb"))


def test_what_is_queued_together_is_stored_together(fake):
    batches = []
    with LedgerWriter(batches.append, waiting=WAITING, pause_s=0.2) as writer:
        for index in range(50):
            writer.append(fake.record(index=index))
    assert [r.run.run_id for batch in batches for r in batch] == [f"run-{i:06d}" for i in range(50)]
    assert len(batches) <= 2


def test_a_receipt_is_given_only_when_it_is_stored(fake):
    gate, stored = threading.Event(), []

    def store(batch):
        gate.wait()
        stored.extend(batch)

    with LedgerWriter(store, waiting=WAITING, pause_s=0.0) as writer:
        receipt = writer.append(fake.record())
        assert not receipt.done()
        gate.set()
        receipt.result(timeout=10)
        assert len(stored) == 1


def test_flush_returns_when_all_is_stored(fake, ledger):
    with ledger.writing() as writer:
        for index in range(5):
            writer.append(fake.record(index=index))
        writer.flush()
        assert ledger.query("FROM runs").num_rows == 5


def test_one_bad_record_takes_no_other_with_it(fake, ledger):
    bad = fake.record(index=7)
    bad = replace(bad, run=replace(bad.run, protocol=None))
    writer = LedgerWriter(ledger.append, waiting=WAITING)
    receipts = [writer.append(r) for r in (fake.record(index=1), bad, fake.record(index=2))]
    with pytest.raises(LedgerError, match="protocol"):
        writer.close()
    with pytest.raises(LedgerError, match="protocol"):
        receipts[1].result()
    assert receipts[0].result() is receipts[2].result() is None
    rows = ledger.query("SELECT run_id FROM runs ORDER BY run_id").to_pylist()
    assert [row["run_id"] for row in rows] == ["run-000001", "run-000002"]


def test_an_error_reaches_the_next_to_append_and_the_end(fake):
    def store(batch):
        raise LedgerError("the disk is full")

    writer = LedgerWriter(store, waiting=WAITING, pause_s=0.0)
    with pytest.raises(LedgerError, match="full"):
        writer.append(fake.record()).result()
    with pytest.raises(LedgerError, match="full"):
        writer.append(fake.record())
    with pytest.raises(LedgerError, match="full"):
        writer.flush()
    with pytest.raises(LedgerError, match="full"):
        writer.close()


def test_an_unforeseen_error_leaves_no_receipt_open(fake):
    def store(batch):
        raise RuntimeError("a fault of ours")

    writer = LedgerWriter(store, waiting=WAITING, pause_s=0.0)
    with pytest.raises(LedgerError, match="a fault of ours"):
        writer.append(fake.record()).result(timeout=10)
    with pytest.raises(LedgerError):
        writer.close()


def test_that_the_ledger_is_free_again_is_said_before_the_receipts(fake):
    """Who waits for receipts shows the messages that have come by then, and no later ones."""
    tried, heard = [], []

    class Waiting(WaitingRecords):
        def append(self, records):
            pass

        def clear(self):
            heard.append(receipts[0].done())

    def store(batch):
        tried.append(batch)
        if len(tried) == 1:
            raise LedgerBusy("held")

    receipts = []
    waiting = Waiting(Path("never-written.duckdb"))
    with LedgerWriter(store, waiting=waiting, pause_s=0.2) as writer:
        receipts.append(writer.append(fake.record()))
        receipts[0].result(timeout=10)
        said: list[str] = []
        writer.show_messages(said.append)
    assert heard == [False]
    assert "wait in" in said[0]
    assert "free again" in said[1]


@pytest.mark.parametrize("error", [LedgerError("the disk is full"), RuntimeError("a fault")])
def test_records_that_waited_are_kept_where_they_cannot_be_stored(fake, ledger, error):
    """A ledger that was held, and then is on a full disk: the next sweep stores them first."""
    raised = iter([LedgerBusy("held"), error])

    def store(batch):
        raise next(raised, error)

    waiting = WaitingRecords(ledger.path)
    writer = LedgerWriter(store, waiting=waiting, pause_s=0.0)
    writer.append(fake.record(index=4))
    with pytest.raises(LedgerError, match=str(error)):
        writer.close()
    assert waiting.ledger.query("SELECT run_id FROM runs")["run_id"].to_pylist() == ["run-000004"]
    said: list[str] = []
    writer.show_messages(said.append)
    assert not any("free again" in each for each in said)
    with ledger.writing():
        pass
    assert ledger.query("SELECT run_id FROM runs")["run_id"].to_pylist() == ["run-000004"]
    assert not waiting.ledger.path.exists()


def test_the_error_of_the_body_is_not_hidden_by_the_writer(fake):
    def store(batch):
        raise LedgerError("the disk is full")

    def body():
        with LedgerWriter(store, waiting=WAITING, pause_s=0.0) as writer:
            writer.append(fake.record())
            raise KeyError

    with pytest.raises(KeyError):
        body()
