"""A page holds every configuration, or those that matter where there are very many."""

from scalelab.reporting import selection


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
