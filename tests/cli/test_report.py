"""`report` by another metric and while a sweep runs; `profile` stores what `report` draws."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.store.ledger import Ledger

TINY = {
    "data.num_users": 120,
    "data.num_items": 60,
    "data.mean_length": 8.0,
    "data.max_length": 30,
    "batch.max_len": 10,
    "model.hidden_dim": 16,
    "model.num_blocks": 1,
    "device.threads": 1,
}


def test_a_metric_that_the_ledger_lacks_is_one_line(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("report", ledger, "--metric", "hr@7", "--out", "page.html")
    assert done.code == 2
    assert "no test metric 'hr@7'" in done.err
    assert not Path("page.html").exists()


@pytest.mark.slow
def test_watch_writes_the_page_once_where_no_sweep_runs(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("report", ledger, "--watch", "--out", "page.html")
    assert done.code == 0
    assert "again every 10 s while a sweep writes" in done.err
    assert 'http-equiv="refresh"' not in Path("page.html").read_text(encoding="utf-8")
    assert scalelab("report", ledger, "--watch", "--json").document["files"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--chart", "pareto"), "--watch writes the whole page"),
        (("--format", "png"), "--watch writes the whole page"),
        *(
            (("--every", value), "--every must be 1 to 86400 seconds")
            for value in ("0", "0.5", "nan", "inf", "86401")
        ),
    ],
)
def test_watch_is_for_the_page(
    scalelab: Callable, ledger: Path, options: tuple[str, ...], message: str
) -> None:
    done = scalelab("report", ledger, "--watch", *options)
    assert done.code == 2
    assert message in done.err


def test_every_needs_watch(scalelab: Callable, ledger: Path) -> None:
    done = scalelab("report", ledger, "--every", "5", "--out", "page.html")
    assert done.code == 2
    assert "--every is for --watch" in done.err
    assert not Path("page.html").exists()


@pytest.mark.slow
def test_a_profile_is_stored_and_its_timeline_drawn(scalelab: Callable) -> None:
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    done = scalelab(
        "profile", "sasrec-synthetic", *settings, "--steps", 2, "--ledger", "a p.duckdb", "--quiet"
    )
    assert done.code == 0
    assert "scalelab report 'a p.duckdb' --chart timeline" in done.err
    rows = (
        Ledger("a p.duckdb")
        .query(
            "SELECT peak_bytes, (SELECT count(*) FROM timeline) AS events, (SELECT sum(bytes) FROM "
            "memory WHERE stage = 'train' AND kind = 'requested' AND source = 'measured' "
            "AND component <> 'total') AS parts FROM results"
        )
        .to_pylist()
    )
    assert len(rows) == 1
    assert rows[0]["events"] > 10
    assert rows[0]["parts"] == rows[0]["peak_bytes"]
    assert scalelab("report", "a p.duckdb", "--chart", "timeline", "--format", "json").code == 0
    assert scalelab("report", "a p.duckdb", "--out", "p.html").code == 0
    page = Path("p.html").read_text(encoding="utf-8")
    assert "Memory through one training step" in page
    assert "The peak of the step, " in page


def test_a_ledger_that_cannot_be_written_stops_a_profile_at_once(scalelab: Callable) -> None:
    Path("text.duckdb").write_text("no ledger", encoding="utf-8")
    done = scalelab("profile", "sasrec-synthetic", "--ledger", "text.duckdb", "--quiet")
    assert done.code == 2
    assert "text.duckdb" in done.err
