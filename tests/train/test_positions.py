"""Training targets before the held-out ones are ranked, predicted, measured and drawn."""

import pytest

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.measure.session import run
from scalelab.planning.predict import predict
from scalelab.store.ledger import Ledger
from scalelab.train.assemble import assemble


@pytest.mark.parametrize("max_users", [0, 40])
def test_each_position_ranks_the_item_there_from_all_before_it(small, max_users):
    trainer = assemble(small({"evaluate.positions": 6, "data.max_eval_users": max_users}))
    histories = trainer.data.interactions.histories
    test = trainer.data.split.test
    users = test.users[test.evaluated(max_users)].tolist()
    assert list(trainer.earlier) == [f"train-{back}" for back in range(1, 7)]
    for back in range(1, 7):
        part = trainer.earlier[f"train-{back}"]
        # The test target is the last item, that of validation the one before.
        place = -2 - back
        expected = [
            (user, histories[user][:place].tolist(), int(histories[user][place]))
            for user in users
            if len(histories[user]) > 2 + back
        ]
        found = [
            (int(user), part.histories[n].tolist(), int(part.targets[n]))
            for n, user in enumerate(part.users)
        ]
        assert found == expected
        assert trainer.evaluate(f"train-{back}")["num_users"] == len(expected)


@pytest.mark.slow
def test_they_are_predicted_measured_stored_and_drawn(small, tmp_path):
    spec = small({"evaluate.positions": 3, "train.epochs": 2})
    record = run(spec, run_id="r", strict=True)
    measured = {(m.stage, m.component): m.bytes for m in record.memory if m.kind == "requested"}
    predicted = predict(spec)
    assert predicted.evaluation["requested"]["total"] == measured["eval", "total"]
    values = {(m.split, m.epoch): m.value for m in record.metrics if (m.name, m.k) == ("ndcg", 10)}
    best = record.run.best_epoch
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([record])
    chart = plugins.load("charts", "positions")()
    rows = chart.rows(ledger)
    splits = ["train-3", "train-2", "train-1", "valid", "test"]
    assert rows["position"].to_pylist() == [-4, -3, -2, -1, 0]
    assert rows["quality"].to_pylist() == [values[split, best] for split in splits]
    assert f"{values['train-1', best]:.4f} to {values['test', best]:.4f}" in chart.finding(rows)
    assert chart.draw(rows).to_dict()


def test_each_position_is_ranked_once_in_the_seconds_of_a_run(small):
    without, three = (predict(small({"evaluate.positions": count})) for count in (0, 3))
    # All users of this set have targets there, and each position has as many blocks as the test.
    assert three.run_s.low == pytest.approx(without.run_s.low + 3 * three.evaluation_s.low)


def test_only_leave_one_out_trains_on_the_positions_before_its_targets(small):
    with pytest.raises(SpecError, match="only leave-one-out"):
        small({"evaluate.positions": 3, "data.split": "sessions"})
