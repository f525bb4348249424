"""The chart of popularity shows what the runs stored, and says what it shows."""

from dataclasses import replace

import pytest

from scalelab.core.records import Metric
from scalelab.reporting import page
from scalelab.reporting.charts.popularity import Popularity
from scalelab.store.ledger import Ledger


@pytest.fixture
def made(fake, tmp_path):
    """Make a ledger of runs: settings, popularity of their first ten places, and of the targets."""

    def make(*cells):
        records = []
        for index, (settings, listed, taken) in enumerate(cells):
            record = fake.record(index=index, **settings)
            figures = {("popularity", 10): listed, ("popularity", 1): listed and 0.99}
            figures["target_popularity", None] = taken
            kept = [one for one in record.metrics if "popularity" not in one.name]
            epoch = record.run.best_epoch
            own = [
                Metric(split="test", epoch=epoch, name=name, k=k, value=value)
                for (name, k), value in figures.items()
                if value is not None
            ]
            records.append(replace(record, metrics=(*kept, *own)))
        ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
        ledger.append(records)
        return ledger

    return make


def test_a_configuration_is_the_mean_over_its_seeds_beside_what_users_took(made):
    ledger = made(
        ({"dataset": "toys", "loss": "bce", "seed": 0}, 0.8, 0.6),
        ({"dataset": "toys", "loss": "bce", "seed": 1}, 0.9, 0.6),
        ({"dataset": "toys", "loss": "rece"}, 0.5, 0.6),
        ({"dataset": "beauty", "loss": "rece"}, 0.7, 0.4),
        ({"dataset": "toys", "loss": "gbce"}, None, 0.6),
    )
    rows = Popularity().rows(ledger)
    found = [
        (row["dataset"], row["loss"], row["popularity"], row["target_popularity"])
        for row in rows.to_pylist()
    ]
    assert found == [
        ("beauty", "rece", 0.7, 0.4),
        ("toys", "rece", 0.5, 0.6),
        ("toys", "bce", pytest.approx(0.85), 0.6),
    ]
    one, least, most = rows["label"].to_pylist()
    assert Popularity().finding(rows).splitlines() == [
        f"beauty: The first 10 places of {one} hold items of popularity 70 % on average; the test "
        "users took items of popularity 40 %.",
        f"toys: The first 10 places hold items of popularity 50 % ({least}) to 85 % ({most}) on "
        "average; the test users took items of popularity 60 %.",
    ]
    assert {row["popularity"] for row in Popularity(k=1).rows(ledger).to_pylist()} == {0.99}
    spec = str(Popularity().draw(rows).to_dict())
    assert "what they took" in spec
    assert "left out" not in spec


def test_the_best_on_validation_are_kept_and_the_others_counted(made):
    ledger = made(*(({"loss": loss}, 0.5, 0.6) for loss in ("bce", "gbce", "rece")))
    best = ledger.query("SELECT loss FROM configurations ORDER BY valid_ndcg_10 DESC")["loss"]
    rows = Popularity(most=2).rows(ledger)
    assert set(rows["loss"].to_pylist()) == set(best.to_pylist()[:2])
    assert "1 configuration that is worse on validation is left out" in str(
        Popularity(most=2).draw(rows).to_dict()
    )


@pytest.mark.parametrize("listed", [0.5, 0.95])
def test_a_page_without_named_charts_shows_it_where_it_was_stored(made, listed):
    ledger = made(({"loss": "bce"}, listed, 0.6))
    assert "popularity" in page.chart_names(ledger)
    # The page cannot show a layer without data.
    assert all(page.draw(ledger, "popularity").to_dict()["datasets"].values())


def test_a_ledger_of_earlier_runs_says_that_it_is_not_known(made):
    ledger = made(({"loss": "bce"}, None, None))
    rows = Popularity().rows(ledger)
    assert rows.num_rows == 0
    assert Popularity().finding(rows) == ""
    assert "no finished runs with a popularity" in str(Popularity().draw(rows).to_dict())
    assert "popularity" not in page.chart_names(ledger)
