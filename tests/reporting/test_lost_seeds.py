"""A configuration that lost seeds is nowhere the best, and every place says why."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from scalelab.core.records import Outcome
from scalelab.findings.order import lost_in_words
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.configurations import collect
from scalelab.reporting.quality import fronts_by, metric_of
from scalelab.reporting.views import Keys
from scalelab.store.ledger import Ledger

WORDS = "1 of 2 seeds ended without a result"


@pytest.fixture(scope="module")
def lucky(fake, tmp_path_factory):
    """Of the best configuration one seed ran out of memory; of two others none did."""
    made = [
        _made(fake, 0, batch_size=64, scale=1.5),
        replace(_made(fake, 1, batch_size=64, seed=1), metrics=()),
        _made(fake, 2, batch_size=128, scale=0.9),
        _made(fake, 3, batch_size=256, scale=0.5),
    ]
    made[1] = replace(made[1], run=replace(made[1].run, outcome=Outcome.OOM))
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("lucky") / "a.duckdb")
    ledger.append(made)
    return ledger


def _made(fake, index, *, scale=1.0, **settings):
    made = fake.record(index=index, loss="rece", **settings)
    metrics = tuple(replace(one, value=one.value * scale) for one in made.metrics)
    text = json.dumps(json.loads(made.run.spec) | {"place": settings["batch_size"]})
    return replace(made, metrics=metrics, run=replace(made.run, spec=text))


def test_its_words():
    assert lost_in_words({"num_lost": 1, "num_seeds": 1}) == WORDS
    assert lost_in_words({"num_lost": 0, "num_seeds": 3}) == ""


@pytest.mark.parametrize("metric", ["ndcg@10", "hr@10"])
def test_no_pareto_front_has_it_by_any_metric(lucky, metric):
    rows = lucky.query("SELECT configuration, num_lost FROM configurations").to_pylist()
    lost = {row["configuration"] for row in rows if row["num_lost"]}
    assert len(lost) == 1
    for front in fronts_by(lucky, metric_of(lucky, metric)):
        assert front
        assert not lost & {key[0] for key in front}


def test_the_page_puts_it_last_without_a_star_and_says_why(lucky):
    rows = collect(lucky, Keys()).rows
    assert [row.is_best for row in rows] == [True, False, False]
    assert "batch 64" in rows[-1].label
    assert WORDS in rows[-1].values[-1][0]
    assert not rows[-1].is_on_front


def test_the_chart_does_not_join_it_and_says_why(lucky):
    rows = Pareto().rows(lucky).to_pylist()
    (one,) = [row for row in rows if row["num_lost"]]
    assert WORDS in one["verdict"]
    assert not one["on_memory_front"]
    assert one["best_of_loss"] is None
    assert any(row["on_memory_front"] for row in rows)


def test_a_list_without_notes_has_no_column_for_them(lucky):
    chart = Pareto()
    rows = chart.rows(lucky)
    texts = chart.draw(rows).to_json()
    assert '"verdict": "note"' in texts
    without = rows.set_column(
        rows.schema.get_field_index("verdict"), "verdict", pa.nulls(rows.num_rows, pa.string())
    )
    assert '"verdict": "note"' not in chart.draw(without).to_json()
