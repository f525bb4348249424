"""A page holds every configuration, or those that matter where there are very many."""

import pytest

from scalelab.reporting import selection
from scalelab.reporting.charts.breakdown import Breakdown
from scalelab.reporting.charts.kinds import Kinds
from scalelab.reporting.charts.learning import Learning
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.positions import Positions
from scalelab.reporting.charts.scaling import Scaling
from scalelab.store.ledger import Ledger


def test_all_are_shown_where_they_are_few(study) -> None:
    number = selection.num_configurations(study)
    assert len(selection.ids(study.query(selection.SHOWN).to_pylist())) == number


def test_of_very_many_the_best_of_each_loss_and_the_pareto_fronts_are_shown(study) -> None:
    shown = selection.SHOWN.replace(str(selection.MOST), "10").replace("turn <= 5", "turn <= 1")
    found = selection.ids(study.query(shown).to_pylist())
    fronts = selection.ids(study.query("FROM pareto_memory UNION FROM pareto_time").to_pylist())
    best = selection.ids(
        study.query(
            "SELECT configuration FROM configurations QUALIFY row_number() OVER ("
            "PARTITION BY data_fingerprint, protocol, device, results_version, threads, loss "
            "ORDER BY valid_ndcg_10 DESC NULLS LAST, configuration) = 1"
        ).to_pylist()
    )
    assert found == fronts | best
    assert len(best) < len(found) < selection.num_configurations(study)


@pytest.mark.parametrize(
    "chart",
    [
        Breakdown,
        *(pytest.param(c, marks=pytest.mark.slow) for c in (Kinds, Learning, Pareto, Positions)),
        pytest.param(Scaling, marks=pytest.mark.slow),
    ],
)
def test_a_study_shows_what_it_took_from_another_one_too(fake, tmp_path, chart) -> None:
    ledger = Ledger.create_or_open(tmp_path / "l.duckdb")
    runs = [fake.record(index=i, loss="rece", batch_size=32 << i) for i in range(2)]
    ledger.append(runs)
    assert not chart(study="second").rows(ledger).num_rows
    ledger.add_reused("second", [runs[1].run.fingerprint])
    found = set(chart(study="second").rows(ledger)["configuration"].to_pylist())
    of_run = "SELECT configuration FROM runs WHERE run_id = ?"
    assert found == set(ledger.query(of_run, [runs[1].run.run_id])["configuration"].to_pylist())


@pytest.mark.slow
def test_what_a_chart_of_very_many_does_not_draw_is_counted(fake, tmp_path):
    """The Pareto front is one of all configurations, not only of those that are drawn."""
    ledger = Ledger.create_or_open(tmp_path / "many.duckdb")
    number = selection.MOST + 40
    ledger.append(
        [
            fake.record(index=i, num_negatives=1 + i // 50, batch_size=8 * (1 + i % 50))
            for i in range(number)
        ]
    )
    chart = Pareto()
    rows = chart.rows(ledger)
    front = sum(rows["on_memory_front"].to_pylist())
    assert rows.num_rows < 200
    assert f"{front} of {number:,} configurations are on the Pareto front" in chart.finding(rows)
    assert f"and {number - rows.num_rows:,} others are not" in chart.draw(rows).to_json()


def test_a_chart_of_few_leaves_none_out(study) -> None:
    chart = Pareto()
    assert "others are not" not in chart.draw(chart.rows(study)).to_json()
