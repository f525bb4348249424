"""`report --watch` writes the page while a sweep runs, and a last one that stays as it is."""

import pytest

from scalelab.core.errors import LedgerError
from scalelab.reporting import watching
from scalelab.reporting.watching import pages_while_sweeping
from scalelab.store.ledger import Ledger
from scalelab.store.lock import driver_lock, is_locked

REFRESH = '<meta http-equiv="refresh" content="7.0">'


@pytest.fixture
def ledger(fake, tmp_path):
    made = Ledger.create_or_open(tmp_path / "a.duckdb")
    made.append([fake.record(index=0)])
    return made


def test_a_lock_is_seen_and_not_taken(ledger):
    assert not is_locked(ledger.path)
    with driver_lock(ledger.path):
        assert is_locked(ledger.path)
    assert not is_locked(ledger.path)
    assert list(ledger.path.parent.iterdir()) == [ledger.path]


@pytest.mark.slow
def test_the_page_follows_the_sweep_and_the_last_one_stays(fake, ledger, tmp_path):
    slept = []
    out = tmp_path / "page.html"
    with driver_lock(ledger.path):
        pages = pages_while_sweeping(ledger, out, every_s=7.0, sleep=slept.append)
        assert next(pages) == out
        assert REFRESH in out.read_text()
        assert "<b>1</b>done" in out.read_text()
        ledger.append([fake.record(index=1, loss="rece")])
        assert next(pages) == out
        assert "<b>2</b>done" in out.read_text()
        assert REFRESH in out.read_text()
    assert list(pages) == [out]
    assert slept == [7.0, 7.0]
    assert REFRESH not in out.read_text()
    assert 'http-equiv="refresh"' not in out.read_text()


@pytest.mark.slow
def test_stopped_by_hand_the_last_page_stays_too(ledger, tmp_path):
    def stop(seconds):
        raise KeyboardInterrupt

    out = tmp_path / "page.html"
    with driver_lock(ledger.path):
        pages = pages_while_sweeping(ledger, out, every_s=7.0, sleep=stop)
        next(pages)
        with pytest.raises(KeyboardInterrupt):
            next(pages)
    assert 'http-equiv="refresh"' not in out.read_text()


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), LedgerError("locked"), OSError("full")],
    ids=lambda one: type(one).__name__,
)
def test_an_exception_during_a_write_leaves_no_page_that_reloads(
    ledger, tmp_path, monkeypatch, error
):
    written = []

    def stopped(*arguments, refresh_s, **named):
        written.append(refresh_s)
        if refresh_s is not None:
            raise error
        return [tmp_path / "page.html"]

    monkeypatch.setattr(watching, "report", stopped)
    with driver_lock(ledger.path), pytest.raises(type(error)):
        next(pages_while_sweeping(ledger, tmp_path / "page.html", every_s=7.0))
    assert written == [7.0, None]


def test_a_last_page_that_cannot_be_written_does_not_hide_why_it_ended(
    ledger, tmp_path, monkeypatch
):
    def fails(*arguments, refresh_s, **named):
        raise LedgerError("first" if refresh_s is not None else "second")

    monkeypatch.setattr(watching, "report", fails)
    with driver_lock(ledger.path), pytest.raises(LedgerError, match="first") as raised:
        next(pages_while_sweeping(ledger, tmp_path / "page.html", every_s=7.0))
    assert raised.value.__notes__ == ["the last page is not written: second"]


@pytest.mark.slow
def test_without_a_sweep_the_page_is_written_once(ledger, tmp_path):
    out = tmp_path / "page.html"
    assert list(pages_while_sweeping(ledger, out, every_s=7.0)) == [out]
    assert 'http-equiv="refresh"' not in out.read_text()
