"""Runs that ended at a baseline or while still rising are marked wherever they are shown."""

import json
from dataclasses import replace

import pytest

from scalelab.core.records import Baseline, Metric, Stopped
from scalelab.findings.verdicts import baselines_of, verdicts_of
from scalelab.reporting import page
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.scaling import Scaling
from scalelab.store.ledger import Ledger

POPULARITY = 0.05
FOLLOWER = 0.08


def made(fake, index, valid, test, stopped, **arguments):
    """A run with these validations, one an epoch."""
    record = fake.record(index=index, loss="bce", **arguments)
    metrics = [
        Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
        for epoch, value in enumerate(valid, 1)
    ]
    metrics.append(Metric(split="test", epoch=1, name="ndcg", k=10, value=test))
    best = 1 + max(range(len(valid)), key=valid.__getitem__)
    run = replace(record.run, stopped=stopped, best_epoch=best, epochs=len(valid))
    return replace(record, run=run, metrics=tuple(metrics))


FLAT = [0.05, 0.051, 0.05, 0.049, 0.05, 0.05, 0.05, 0.05]
RISING = [0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12]
SETTLED = [0.1, 0.15, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]


@pytest.fixture(scope="module")
def ledger(fake, tmp_path_factory):
    """Configurations by batch size: 32 flat, 64 rising, 128 settled, 256 one of two rising."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("verdicts") / "verdicts.duckdb")
    ledger.append(
        [
            made(fake, 0, FLAT, 0.045, Stopped.PATIENCE, batch_size=32),
            made(fake, 1, RISING, 0.1, Stopped.EPOCHS, batch_size=64),
            made(fake, 2, SETTLED, 0.2, Stopped.EPOCHS, batch_size=128),
            made(fake, 3, SETTLED, 0.2, Stopped.PATIENCE, batch_size=256),
            made(fake, 4, RISING, 0.2, Stopped.EPOCHS, batch_size=256, seed=1),
        ]
    )
    place = ledger.query("SELECT DISTINCT data_fingerprint, protocol FROM runs").to_pylist()[0]
    ledger.add_baselines(
        [
            Baseline(name=name, split=split, metric=metric, k=k, value=value, seconds=1.0, **place)
            for name, quality in (("popularity", POPULARITY), ("last_item_follower", FOLLOWER))
            for split in ("valid", "test")
            for metric, k, value in (("ndcg", 10, quality), ("ndcg", 5, 9.0), ("hr", 10, 9.0))
        ]
    )
    return ledger


def words(ledger):
    sizes = ledger.query("SELECT configuration, batch_size FROM configurations").to_pylist()
    by_configuration = {key[0]: verdict.words for key, verdict in verdicts_of(ledger).items()}
    return {row["batch_size"]: by_configuration[row["configuration"]] for row in sizes}


def test_each_configuration_has_its_words(ledger):
    assert words(ledger) == {
        32: "ended no better than the popularity baseline; "
        "below the baseline last item follower (0.0800)",
        64: "still rising when it ended",
        128: "",
        256: "still rising when it ended (1 of 2 seeds)",
    }


def test_without_baselines_only_the_validations_speak(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "none.duckdb")
    ledger.append([made(fake, 0, FLAT, 0.045, Stopped.PATIENCE, batch_size=32)])
    assert words(ledger) == {32: ""}
    assert baselines_of(ledger) == {}


@pytest.mark.slow
@pytest.mark.parametrize("chart", [Pareto(), Scaling()])
def test_charts_mark_them(ledger, chart):
    rows = chart.rows(ledger)
    marked = dict(zip(rows["batch_size"].to_pylist(), rows["verdict"].to_pylist(), strict=True))
    assert marked == {size: text or None for size, text in words(ledger).items()}
    spec = json.dumps(chart.draw(rows).to_dict())
    assert "hollow" in spec
    assert "datum.verdict == null" in spec


@pytest.mark.slow
def test_the_pareto_chart_shows_the_baselines(ledger):
    spec = json.dumps(Pareto().draw(Pareto().rows(ledger)).to_dict())
    assert "popularity 0.05" in spec
    assert "last item follower 0.08" in spec


@pytest.mark.slow
def test_the_page_shows_both(ledger):
    text = page.page(ledger)
    assert "still rising when it ended (1 of 2 seeds)" in text
    assert "ended no better than the popularity baseline" in text
    body = text.partition("<h2>Baselines")[2]
    assert "last item follower" in body
    assert "0.0800" in body
