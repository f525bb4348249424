"""`report --watch` writes the page while a sweep runs, and a last one that stays as it is."""

import pytest

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


@pytest.mark.slow
def test_without_a_sweep_the_page_is_written_once(ledger, tmp_path):
    out = tmp_path / "page.html"
    assert list(pages_while_sweeping(ledger, out, every_s=7.0)) == [out]
    assert 'http-equiv="refresh"' not in out.read_text()
