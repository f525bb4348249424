"""The sentence says what the ledger shows: ledgers with known outcomes, every clause checked."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from scalelab import api
from scalelab.core.errors import SpecError
from scalelab.core.records import Baseline, Memory, Metric, Outcome, Stopped, UserRanks
from scalelab.core.units import MIB
from scalelab.findings.result import as_html
from scalelab.findings.sentences import answer
from scalelab.reporting import page
from scalelab.store.ledger import Ledger

USERS = 4000
ORACLE = 0.5


def hits(share, users=USERS, *, seed=None):
    """Ranks of which `share` are 1 and the others 0: NDCG@10 is `share`.

    Without a seed the first users have them, so that two such rankings share their users.
    """
    if seed is None:
        return np.arange(users) < round(share * users)
    order = np.random.default_rng(seed).permutation(users)
    return order < round(share * users)


@pytest.fixture
def made(fake):
    """Makes one run, complete as the ledger keeps it."""
    count = iter(range(10_000))

    def make(
        quality=0.4,
        peak=24,
        *,
        loss="dense_ce",
        valid=None,
        eval_peak=1,
        ranks=None,
        keep_ranks=True,
        stopped=Stopped.PATIENCE,
        oracle=ORACLE,
        outcome=Outcome.DONE,
        **arguments,
    ):
        record = fake.record(index=next(count), loss=loss, outcome=outcome, **arguments)
        if outcome is not Outcome.DONE:
            return record
        found = hits(quality) if ranks is None else ranks
        curve = [quality] if valid is None else valid if isinstance(valid, list) else [valid]
        metrics = [
            Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
            for epoch, value in enumerate(curve, 1)
        ]
        best = 1 + max(range(len(curve)), key=curve.__getitem__)
        test = {"ndcg": float(np.mean(found)), "oracle_ndcg": oracle}
        metrics += [
            Metric(split="test", epoch=best, name=name, k=10, value=value)
            for name, value in test.items()
            if value is not None
        ]
        memory = [
            Memory(
                stage=stage,
                kind="requested",
                component="total",
                bytes=round(size * MIB),
                reason=None,
                source="measured",
            )
            for stage, size in (("train", peak), ("eval", eval_peak))
        ]
        return replace(
            record,
            run=replace(record.run, best_epoch=best, epochs=len(curve), stopped=stopped),
            metrics=tuple(metrics),
            memory=tuple(memory),
            user_ranks=UserRanks(ranks=tuple(map(int, found))) if keep_ranks else None,
        )

    return make


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create_or_open(tmp_path / "l.duckdb")


def with_baselines(ledger, **test):
    """Baselines by name, the same on validation and test, for all data of the ledger."""
    places = ledger.query("SELECT DISTINCT data_fingerprint, protocol FROM runs").to_pylist()
    facts = [
        Baseline(name=name, split=split, metric="ndcg", k=10, value=value, seconds=1.0, **place)
        for place in places
        for name, value in test.items()
        for split in ("valid", "test")
    ]
    ledger.add_baselines(facts)


def clauses(ledger, **options):
    found = answer(ledger, **options)
    assert len(found.sentences) == 1
    one = found.sentences[0]
    assert one.text == " ".join(one.clauses.values())
    assert found.text == f"{one.text}\nNext: {one.next}"
    return one


def front(made):
    """A known Pareto front of three, the dearest clearly best."""
    return [
        made(0.40, 24, loss="dense_ce", batch_size=32),
        made(0.39, 12.24, loss="sampled_softmax", num_negatives=128, batch_size=32),
        made(0.20, 6, loss="bce", num_negatives=1, batch_size=32),
    ]


def test_a_tiny_quality_has_no_exponent(made, ledger):
    ledger.append([made(0.00003, 24)])
    with_baselines(ledger, popularity=0.00002)
    found = answer(ledger).text
    assert "0.00003" in found
    assert "e-0" not in found


def test_a_known_front_gives_the_sentence(made, ledger):
    ledger.append(front(made))
    with_baselines(ledger, popularity=0.05, last_item_follower=0.30)
    one = clauses(ledger)
    assert one.clauses == {
        "best": "The best NDCG@10 on the test users is 0.400, by dense_ce, batch 32, with 24 MiB "
        "of training memory.",
        "cheaper": "sampled_softmax, 128 negatives, batch 32: 98 % of the best NDCG@10 (0.390 of "
        "0.400) in 51 % of its training memory (12.2 of 24 MiB).",
        "distance": "The best reaches 80 % of the oracle (0.500, a bound for any model) and is "
        "33 % above the best baseline, last item follower (0.300).",
        "unknown": "Keep in mind: one seed was run, and another may change the order.",
    }
    assert one.is_best
    assert one.equal == ()
    assert one.cheaper.p_value < 0.05
    assert one.quality_ratio == pytest.approx(0.39 / 0.40)
    assert one.memory_ratio == pytest.approx(12.24 / 24)
    assert (one.oracle_ndcg_10, one.baseline, one.baseline_ndcg_10) == (
        ORACLE,
        "last_item_follower",
        0.30,
    )
    assert one.test_users == USERS


def test_far_above_the_baseline_is_said_in_times(made, ledger):
    ledger.append(front(made))
    with_baselines(ledger, popularity=0.05)
    assert (
        "has 8.0 times the NDCG@10 of the best baseline, popularity (0.0500)"
        in (clauses(ledger).clauses["distance"])
    )


def test_of_several_that_are_about_as_good_the_cheapest_is_named(made, ledger):
    sizes = {32: (0.40, 24), 64: (0.39, 18), 128: (0.385, 8), 256: (0.39, 12), 512: (0.3, 4)}
    ledger.append([made(quality, peak, batch_size=b) for b, (quality, peak) in sizes.items()])
    assert clauses(ledger).cheaper.label == "dense_ce, batch 128"


def test_what_is_not_close_is_no_alternative(made, ledger):
    ledger.append([made(0.40, 24), made(0.30, 6, loss="bce"), made(0.399, 23.9, loss="rece")])
    found = clauses(ledger).clauses["cheaper"]
    assert found == (
        "No configuration that takes clearly less memory comes within 5 % of the best on "
        "validation."
    )


def test_the_best_may_take_the_least_memory(made, ledger):
    ledger.append([made(0.40, 6), made(0.30, 24, loss="bce")])
    assert clauses(ledger).clauses["cheaper"] == "No other takes less training memory."


def test_no_memory_is_saved_where_evaluation_needs_most(made, ledger):
    ledger.append([made(0.40, 24, eval_peak=30), made(0.395, 12, loss="rece", eval_peak=30)])
    one = clauses(ledger)
    assert one.cheaper is None
    assert "24 MiB of training memory, 30 MiB for evaluation" in one.clauses["best"]
    assert one.clauses["cheaper"] == "No other takes less memory, evaluation counted."
    ledger.append([made(0.2, 12, loss="bce", eval_peak=20)])
    assert "clearly less memory, evaluation counted, comes" in clauses(ledger).clauses["cheaper"]


def test_the_cheapest_is_the_one_that_fits_the_smallest_budget(made, ledger):
    """Evaluation is a part of what a run needs: less training memory alone does not fit."""
    ledger.append(
        [
            made(0.40, 24, eval_peak=10),
            made(0.39, 6, loss="bce", eval_peak=20),
            made(0.395, 9, loss="rece", eval_peak=12),
            made(0.399, 11, loss="sampled_softmax", eval_peak=12),
        ]
    )
    one = clauses(ledger)
    assert one.cheaper.settings["loss.name"] == "sampled_softmax"  # as little as rece, and better
    assert one.clauses["cheaper"].endswith(
        "in 50 % of its memory (12 of 24 MiB, evaluation counted)."
    )
    assert one.memory_ratio == pytest.approx(0.5)
    with ledger.reading():
        for budget, wanted in ((12 * MIB, 1), (12 * MIB - 1, 0)):
            assert ledger.query(f"FROM best_under_budget({budget})").num_rows == wanted


def test_of_very_many_the_cheapest_is_found_among_those_that_are_not_read(made, ledger):
    """The first fifty on validation are read, and of the others the one that needs least."""
    many = [
        made(0.40 - place / 1e5, 24, num_items=1000, batch_size=place) for place in range(1, 52)
    ]
    ledger.append(
        [
            *many,
            made(0.395, 6, loss="bce", eval_peak=20, num_items=1000),
            made(0.395, 9, loss="rece", eval_peak=12, num_items=1000),
        ]
    )
    assert clauses(ledger).cheaper.settings["loss.name"] == "rece"


def test_where_training_needs_the_same_evaluation_decides_what_is_cheaper(made, ledger):
    ledger.append([made(0.40, 8, eval_peak=30), made(0.395, 8, loss="rece", eval_peak=15)])
    found = clauses(ledger).clauses["cheaper"]
    assert found.endswith("in 50 % of its memory (15 of 30 MiB, evaluation counted).")


def test_a_tie_is_not_best_and_the_cheaper_of_it_is_named(made, ledger):
    ledger.append([made(0.4, 24), made(0.4, 12, loss="cross_entropy"), made(0.2, 6, loss="bce")])
    one = clauses(ledger)
    assert not one.is_best
    assert one.clauses["best"] == (
        "No single configuration is best: cross_entropy, batch 128 is first on validation (NDCG@10 "
        "0.400 on the test users, 12 MiB of training memory), but dense_ce, batch 128 cannot be "
        "distinguished from it."
    )
    assert [pick.label for pick in one.equal] == ["dense_ce, batch 128"]


def test_noise_over_users_is_not_best(made, ledger):
    """Different users are hit; the means differ by less than chance."""
    ledger.append(
        [
            made(0.41, 24, ranks=hits(0.41, 1000, seed=1)),
            made(0.405, 12, loss="rece", ranks=hits(0.405, 1000, seed=2)),
            made(0.2, 6, loss="bce", ranks=hits(0.2, 1000, seed=3), num_negatives=1),
        ]
    )
    one = clauses(ledger)
    assert not one.is_best
    assert [pick.label for pick in one.equal] == ["rece, batch 128"]
    assert one.equal[0].p_value > 0.05
    assert one.clauses["cheaper"] == (
        "rece, batch 128: 99 % of that NDCG@10 (0.405 of 0.410) in 50 % of its training memory "
        "(12 of 24 MiB)."
    )


@pytest.mark.slow
def test_noise_within_the_spread_over_seeds_is_not_best(made, ledger):
    """The same difference, clear on the test users, is one only where the spread is smaller."""
    for spread, is_best in ((0.03, False), (0.001, True)):
        own = Ledger.create_or_open(ledger.path.with_name(f"{spread}.duckdb"))
        own.append(
            [
                made(mean + step * spread, peak, loss=loss, seed=seed)
                for loss, mean, peak in (("dense_ce", 0.42, 24), ("rece", 0.40, 12))
                for seed, step in enumerate((-1, 0, 1))
            ]
        )
        one = clauses(own)
        assert one.best.seeds == 3
        assert one.is_best is is_best
        assert bool(one.equal) is not is_best
        assert one.cheaper.p_value < 0.05
        assert "seed" not in one.text


def test_more_than_two_equals_are_counted(made, ledger):
    ledger.append([made(0.4, 10 + size, batch_size=size) for size in (32, 64, 128, 256)])
    assert "but 3 others cannot be distinguished" in clauses(ledger).clauses["best"]


@pytest.mark.slow
def test_of_many_equals_it_says_why_the_cheaper_is_one(made, ledger):
    """By the test users, or, where these tell the two apart, by the spread over seeds."""
    ledger.append([made(0.4, 40 - size, batch_size=size) for size in (4, 8, 16, 32)])
    ledger.append([made(0.398, 5, loss="rece", ranks=hits(0.398, seed=1))])
    assert (
        clauses(ledger)
        .clauses["cheaper"]
        .endswith(
            "rece, batch 128: about the same NDCG@10 (0.398 against 0.400) in 62 % of its training "
            "memory (5 of 8 MiB); the test users do not distinguish the two."
        )
    )
    own = Ledger.create_or_open(ledger.path.with_name("seeds.duckdb"))
    own.append(
        [
            made(mean + step * 0.03, peak, loss=loss, seed=seed)
            for loss, mean, peak in (
                *(("dense_ce", 0.42, 24), ("bce", 0.41, 30), ("gbce", 0.41, 30)),
                ("rece", 0.40, 12),
            )
            for seed, step in enumerate((-1, 0, 1))
        ]
    )
    one = clauses(own)
    assert one.cheaper.p_value < 0.05
    assert one.clauses["cheaper"].endswith(
        "; the two differ by no more than the spread over seeds."
    )


def test_validation_chooses_and_test_is_shown(made, ledger):
    ledger.append([made(0.30, 24, valid=0.41), made(0.40, 12, loss="rece", valid=0.40)])
    one = clauses(ledger)
    assert one.best.label == "dense_ce, batch 128"
    assert one.best.test_ndcg_10 == pytest.approx(0.30)
    assert not one.is_best
    assert "but rece, batch 128 ranks the test users better." in one.clauses["best"]
    assert "a higher NDCG@10 (0.400 against 0.300) in 50 %" in one.clauses["cheaper"]


def test_one_run_is_not_called_best(made, ledger):
    ledger.append([made(0.4, 24, batch_size=32)])
    one = clauses(ledger)
    assert not one.is_best
    assert one.clauses["best"] == (
        "Only one configuration has finished: dense_ce, batch 32, with NDCG@10 0.400 on the test "
        "users, 24 MiB of training memory."
    )
    assert "cheaper" not in one.clauses
    assert one.clauses["unknown"] == (
        "Keep in mind: one seed was run, and another may give another figure; no baseline is known."
    )


def test_without_ranks_nothing_is_called_best(made, ledger):
    ledger.append([made(0.40, 24, keep_ranks=False), made(0.39, 12, loss="rece", keep_ranks=False)])
    one = clauses(ledger)
    assert not one.is_best
    assert one.clauses["best"].startswith("First on validation is dense_ce, batch 128, with")
    assert "the differences were not tested, as the ranks of users were not kept" in one.text
    assert one.quality_ratio == pytest.approx(0.39 / 0.40)


def test_ranks_of_other_users_are_not_compared(made, ledger):
    ledger.append([made(0.40, 24), made(0.40, 12, loss="rece", ranks=hits(0.4, 300))])
    one = clauses(ledger)
    assert [pick.p_value for pick in one.equal] == [None]
    assert "the differences were not tested" in one.text


def test_an_empty_ledger_has_no_runs(ledger):
    found = answer(ledger)
    assert found.text == "This ledger has no runs yet."
    assert found.sentences == ()


def test_all_out_of_memory(made, ledger):
    ledger.append([made(outcome=Outcome.OOM, seed=seed) for seed in range(3)])
    ledger.append([made(outcome=Outcome.DIVERGED, loss="bce")])
    one = clauses(ledger)
    assert (
        one.text == "No run has finished with a result: 3 runs ran out of memory; 1 run diverged."
    )
    assert one.best is None
    assert one.next.startswith("scalelab query ")
    assert one.next.endswith(" \"SELECT loss, outcome, error FROM runs WHERE outcome <> 'done'\"")


def test_none_finished_yet(made, ledger):
    ledger.append([made(outcome=Outcome.RUNNING), made(outcome=Outcome.INTERRUPTED, loss="bce")])
    assert clauses(ledger).text == (
        "No run has finished with a result: 2 runs have not finished yet."
    )


def test_what_did_not_finish_is_counted_beside_the_best(made, ledger):
    ledger.append(front(made))
    ledger.append([made(outcome=Outcome.OOM, loss="rece"), made(outcome=Outcome.RUNNING, seed=7)])
    assert clauses(ledger).clauses["left_out"] == (
        "Left out: 1 run ran out of memory; 1 run has not finished yet."
    )


def test_a_configuration_of_which_a_seed_was_lost_is_left_out(made, ledger):
    ledger.append([made(0.45, 24), made(outcome=Outcome.OOM, seed=1), made(0.4, 12, loss="rece")])
    one = clauses(ledger)
    assert one.best.label == "rece, batch 128"
    assert one.clauses["best"].startswith(
        "Only one configuration has finished with all of its seeds: rece, batch 128, with"
    )
    assert one.clauses["left_out"] == (
        "Left out: 1 configuration has seeds that did not finish; 1 run ran out of memory."
    )


@pytest.mark.slow
def test_each_data_set_has_its_sentence(made, ledger):
    ledger.append(front(made))
    ledger.append([made(0.3, 48, num_items=1_000_000, batch_size=32)])
    ledger.append([made(outcome=Outcome.OOM, dataset="beauty", num_items=7)])
    found = answer(ledger)
    assert [one.data for one in found.sentences] == [
        "synthetic, 100,000 items, leave-one-out, seen excluded",
        "synthetic, 1,000,000 items, leave-one-out, seen excluded",
        "beauty, leave-one-out, seen excluded",
    ]
    assert [one.best and one.best.test_ndcg_10 for one in found.sentences] == [0.4, 0.3, None]
    for one in found.sentences:
        assert one.text.startswith(f"{one.data}: ")
    lines = found.text.splitlines()
    assert lines[:3] == [one.text for one in found.sentences]
    assert all(line.startswith("Next: ") for line in lines[3:])


def test_a_baseline_above_all_is_said_first(made, ledger):
    ledger.append(front(made))
    with_baselines(ledger, popularity=0.05, last_item_follower=0.42)
    one = clauses(ledger)
    assert not one.is_best
    assert one.clauses["best"] == (
        "No configuration can be called best: dense_ce, batch 32 is first on validation (NDCG@10 "
        "0.400 on the test users, 24 MiB of training memory). No configuration ranks better than "
        "the baseline last item follower (0.420), which needs no training."
    )
    assert one.clauses["cheaper"].startswith(
        "sampled_softmax, 128 negatives, batch 32: 98 % of that NDCG@10"
    )
    assert "baseline" not in one.clauses["distance"]


@pytest.mark.slow
def test_a_baseline_above_the_first_only(made, ledger):
    ledger.append([made(0.30, 24, valid=0.41), made(0.40, 12, loss="rece", valid=0.40)])
    with_baselines(ledger, popularity=0.35)
    found = clauses(ledger).clauses["best"]
    assert found.endswith(
        "dense_ce, batch 128 does not rank better than the baseline popularity (0.350)."
    )


def test_level_with_popularity_is_nothing_learned(made, ledger):
    ledger.append([made(0.05, 24, valid=[0.05, 0.051]), made(0.04, 12, loss="rece", valid=0.04)])
    with_baselines(ledger, popularity=0.05)
    one = clauses(ledger)
    assert one.clauses["best"] == (
        "No configuration has learned more than the popularity list: the first on validation, "
        "dense_ce, batch 128, ended no better than it (NDCG@10 0.0500 on the test users)."
    )
    assert not one.is_best
    assert one.cheaper is None
    # Another seed would change nothing that is of use.
    assert "unknown" not in one.clauses


@pytest.mark.slow
def test_zeros_are_never_best(made, ledger):
    ledger.append([made(0.0, 24), made(0.0, 12, loss="rece")])
    one = clauses(ledger)
    assert one.clauses["best"] == (
        "No configuration has learned anything: all have NDCG@10 0 on validation."
    )
    assert (one.is_best, one.cheaper) == (False, None)
    assert "%" not in one.text
    with_baselines(ledger, popularity=0.01)
    assert (
        clauses(ledger)
        .clauses["best"]
        .endswith(
            "No configuration ranks better than the baseline popularity (0.0100), which needs no "
            "training."
        )
    )


def test_zero_on_the_test_users_is_never_best(made, ledger):
    ledger.append([made(0.0, 24, valid=0.001), made(0.0, 12, loss="rece", valid=0.0)])
    one = clauses(ledger)
    assert one.clauses["best"] == (
        "No configuration can be called best: the first on validation, dense_ce, batch 128, has "
        "NDCG@10 0.00100 there and 0 on the test users."
    )
    assert (one.is_best, one.cheaper) == (False, None)


RISING = [0.1, 0.2, 0.3, 0.4]


def test_still_rising_is_named_and_counted(made, ledger):
    ledger.append(
        [
            made(0.4, 24, valid=RISING, stopped=Stopped.EPOCHS),
            made(0.2, 12, loss="rece", valid=[0.05, 0.2], stopped=Stopped.EPOCHS),
            made(0.1, 6, loss="bce", valid=[0.1, 0.1], stopped=Stopped.EPOCHS),
        ]
    )
    assert "dense_ce, batch 128 was still rising at the end, as was 1 other" in clauses(ledger).text


@pytest.mark.slow
def test_the_two_that_are_named_may_both_be_rising(made, ledger):
    ledger.append(
        [
            made(0.4, 24, valid=RISING, stopped=Stopped.EPOCHS),
            made(0.4, 12, loss="rece", valid=[*RISING[:3], 0.39], stopped=Stopped.EPOCHS),
        ]
    )
    assert "both named configurations were still rising at the end;" in clauses(ledger).text


@pytest.mark.slow
def test_what_is_said_of_all_holds_beyond_the_best_fifty(made, ledger):
    """The last has the least memory and the best test figure, is level with popularity and rises;
    the one before it rises too."""
    many = [
        made(0.4 - n / 1000, 24, valid=[0.4 - n / 1000] * 2, loss="bce", num_negatives=n + 1,
             keep_ranks=False)
        for n in range(52)
    ]  # fmt: skip
    last = [
        made(0.2, 23, valid=RISING[:2], stopped=Stopped.EPOCHS, loss="rece", keep_ranks=False),
        made(0.5, 6, valid=[0.05, 0.05], loss="gbce", keep_ranks=False),
    ]
    ledger.append([*many, *last])
    with_baselines(ledger, popularity=0.05)
    one = clauses(ledger)
    assert "No other takes less" not in one.text
    assert "1 configuration was still rising at the end" in one.text
    assert "1 configuration has learned no more than the popularity list" in one.text
    with_baselines(ledger, last_item_follower=0.45)
    text = clauses(ledger).clauses["best"]
    assert "No configuration ranks better" not in text
    assert "does not rank better than the baseline last item follower" in text


def test_few_users_are_said(made, ledger):
    ledger.append(
        [
            made(0.5, 24, ranks=hits(0.5, 40)),
            made(0.4, 12, loss="rece", ranks=hits(0.4, 40)),
        ]
    )
    assert "there are only 40 test users" in clauses(ledger).text


@pytest.mark.parametrize(
    ("budget", "best", "words"),
    [
        (None, "dense_ce, batch 32", "The best NDCG@10 on"),
        (13 * MIB, "sampled_softmax, 128 negatives, batch 32", "The best NDCG@10 within 13 MiB on"),
        (7 * MIB, "bce, 1 negative, batch 32", "Only one configuration fits in 7 MiB: bce"),
        (1 * MIB, None, "No configuration fits in 1 MiB: the smallest needs 6 MiB."),
    ],
)
def test_a_budget_holds_for_training(made, ledger, budget, best, words):
    ledger.append(front(made))
    one = clauses(ledger, budget_bytes=budget)
    assert (one.best and one.best.label) == best
    assert one.text.startswith(words)
    # What is said first is not said again.
    assert ("Left out" in one.text) == (budget in (13 * MIB, 7 * MIB))


@pytest.mark.slow
def test_a_budget_holds_for_evaluation_too(made, ledger):
    ledger.append([made(0.4, 24, eval_peak=40), made(0.3, 12, loss="rece", eval_peak=5)])
    assert clauses(ledger, budget_bytes=39 * MIB).best.label == "rece, batch 128"
    assert (
        "1 configuration needs more than the budget"
        in (clauses(ledger, budget_bytes=39 * MIB).clauses["left_out"])
    )
    assert clauses(ledger, budget_bytes=40 * MIB).best.label == "dense_ce, batch 128"
    assert "the smallest needs 12 MiB" in clauses(ledger, budget_bytes=3 * MIB).text


def test_a_seed_of_an_unknown_size_fits_no_budget(made, ledger):
    one, unread = made(0.4, 24), made(0.4, 24, seed=1)
    memory = tuple(replace(m, bytes=None) if m.stage == "eval" else m for m in unread.memory)
    ledger.append([one, replace(unread, memory=memory), made(0.3, 12, loss="rece")])
    assert clauses(ledger, budget_bytes=39 * MIB).best.label == "rece, batch 128"


@pytest.mark.slow
def test_evaluation_is_that_of_the_last_attempt_as_in_best_under_budget(made, ledger):
    first, last = (
        made(0.4, peak=24, eval_peak=size, attempt=attempt, keep_ranks=False)
        for attempt, size in ((1, 900), (2, 10))
    )
    same = replace(last.run, fingerprint=first.run.fingerprint)
    ledger.append([first, replace(last, run=same)])
    budget = 100 * MIB
    assert ledger.query(f"FROM best_under_budget({budget})").num_rows == 1
    assert clauses(ledger, budget_bytes=budget).best.eval_peak_bytes == 10 * MIB


def test_a_budget_is_read_as_people_write_it(made, ledger):
    ledger.append(front(made))
    assert api.answer(ledger.path, budget="13MiB").sentences[0].best.label.startswith("sampled")
    with pytest.raises(SpecError, match="invalid size"):
        api.answer(ledger.path, budget="3parsecs")


STUDY = """name = "mine"
base = "sasrec-synthetic"

[budget]
memory = "13MiB"

[axes]
"loss.name" = ["dense_ce", "bce"]
"""


def write_study(ledger, text):
    """The study as a file in the working folder, and in the ledger as it was swept."""
    from scalelab.core.study import StudySpec
    from scalelab.studies.study_toml import as_toml

    file = ledger.path.with_name("mine.toml")
    file.write_text(text, encoding="utf-8")
    toml = as_toml(StudySpec.load(file), {"data.num_items": 500, "train.precision": "bf16"})
    ledger.add_study("study-1", "mine", toml, datetime(2026, 1, 1))


@pytest.fixture
def studied(made, ledger, monkeypatch):
    """A ledger of a study that lies beside it as a file, in the working folder."""
    monkeypatch.chdir(ledger.path.parent)
    write_study(ledger, STUDY)
    return ledger


SWEEP = (
    "scalelab sweep {file} --ledger {ledger} --set data.num_items=500 --set train.precision=bf16"
)


def command(studied, more):
    return SWEEP.format(file="mine.toml", ledger=studied.path) + more


def test_next_is_another_seed(made, studied):
    studied.append(front(made))
    assert clauses(studied).next == command(studied, " --set train.seed=1")


def test_next_is_the_page_once_there_are_three_seeds(made, studied):
    studied.append([made(0.4, 6, seed=seed) for seed in range(3)])
    assert clauses(studied).next == f"scalelab report {studied.path}"


def test_next_is_longer_training_where_it_was_still_rising(made, studied):
    studied.append([made(0.4, 6, valid=RISING, stopped=Stopped.EPOCHS)])
    assert clauses(studied).next == command(studied, " --set train.epochs=60")


@pytest.mark.parametrize(
    "varied", ["\n[halving]\nepochs = [10, 30]\n", '"train.epochs" = [10, 30]\n']
)
def test_next_is_never_longer_where_the_study_itself_sets_the_epochs(made, studied, varied):
    """A sweep refuses --set for a key that the study varies."""
    write_study(studied, STUDY + varied)
    studied.append([made(0.4, 6, valid=RISING, stopped=Stopped.EPOCHS)])
    assert clauses(studied).next == command(studied, " --set train.seed=1")


def test_next_goes_on_where_runs_are_missing(made, studied):
    studied.append([*front(made), made(outcome=Outcome.INTERRUPTED, loss="rece")])
    assert clauses(studied).next == command(studied, "")


def test_what_is_missing_is_run_before_more_seeds_of_other_data(made, studied):
    missing = [made(outcome=Outcome.INTERRUPTED, dataset="beauty", num_items=7)]
    studied.append([*front(made), *missing])
    found = answer(studied)
    assert len(found.sentences) == 2
    assert found.text.splitlines()[-1] == f"Next: {command(studied, '')}"
    assert found.text.count("Next: ") == 1


def test_next_asks_what_fits_where_nothing_did(made, studied):
    studied.append([made(outcome=Outcome.OOM)])
    assert clauses(studied).next == ("scalelab plan mine.toml --solve batch.size --budget 13MiB")


def test_a_changed_study_is_not_run_as_if_it_were_the_same(made, studied):
    studied.append(front(made))
    studied.path.with_name("mine.toml").write_text(STUDY + "\n[set]\n'train.epochs' = 3\n")
    assert clauses(studied).next == f"scalelab report {studied.path}"


@pytest.mark.slow
def test_the_budget_of_the_study_holds_where_none_is_given(made, studied):
    studied.append(front(made))
    found = answer(studied)
    assert found.budget_bytes == 13 * MIB
    assert found.sentences[0].best.label.startswith("sampled_softmax")
    assert answer(studied, budget_bytes=99 * MIB).sentences[0].best.label.startswith("dense_ce")


@pytest.mark.slow
def test_a_study_takes_its_own_runs_only(made, studied):
    studied.append(front(made))
    studied.add_study("study-2", "other", STUDY.replace("mine", "other"), datetime(2026, 1, 2))
    studied.append([made(0.45, 6, loss="rece", study_id="study-2")])
    assert api.answer(studied.path, study="mine").sentences[0].best.label.startswith("sampled")
    assert api.answer(studied.path, study="mine.toml").sentences[0].next == (
        command(studied, " --set train.seed=1")
    )
    assert api.answer(studied.path, study="other").sentences[0].best.label.startswith("rece")
    with pytest.raises(SpecError, match="no study"):
        api.answer(studied.path, study="third")


@pytest.mark.slow
def test_runs_that_another_study_has_done_before_count_for_a_sweep(made, studied):
    """A sweep does not run them again; no answer may leave out what its table shows."""
    studied.append(front(made))
    studied.add_study("study-2", "other", STUDY.replace("mine", "other"), datetime(2026, 1, 2))
    done = made(0.45, 6, loss="rece", study_id="study-2")
    studied.append([done, made(0.5, 6, loss="gbce", study_id="study-2")])
    taken = [done.run.fingerprint]
    for _ in range(2):  # a sweep that is typed again changes nothing
        studied.add_reused("study-1", taken)
    assert studied.query("FROM reused_runs").num_rows == 1
    found = api.answer(studied.path, study="mine").sentences[0]
    assert found.best.label.startswith("rece")
    assert "gbce" not in found.text


@pytest.mark.slow
def test_the_page_opens_with_it_and_the_notebook_shows_it(made, ledger):
    ledger.append(front(made))
    found = answer(ledger)
    text = page.page(ledger)
    start = text.index('<section id="answer"')
    assert start < text.index('class="chart"')
    # Nobody needs the command that wrote the page on that page.
    assert "scalelab report" in found._repr_html_()
    assert as_html(found, on_page=True) in text[start:]
    assert "scalelab report" not in text[start : text.index('class="tiles"')]
    assert found._repr_html_().startswith(as_html(found, on_page=True).partition("<p>Next")[0][:80])
    assert str(found) == found.text
    assert json.loads(json.dumps(found.sentences[0].best.settings))["batch.size"] == 32


def test_names_from_a_ledger_cannot_leave_the_page(made, ledger):
    record = made(0.4, 24)
    spec = json.loads(record.run.spec)
    spec["loss"]["name"] = "<script>alert(1)</script>"
    ledger.append([replace(record, run=replace(record.run, spec=json.dumps(spec)))])
    assert "<script>" not in answer(ledger)._repr_html_()
    assert "&lt;script&gt;" in answer(ledger)._repr_html_()


def test_the_users_are_averaged_over_seeds(made, ledger):
    """With the first seed alone the two would be the same on every user."""
    ledger.append(
        [
            made(0.1, 24, seed=0),
            made(0.7, 24, seed=1),
            made(0.1, 12, loss="rece", seed=0),
            made(0.1, 12, loss="rece", seed=1),
        ]
    )
    one = clauses(ledger)
    assert one.best.test_ndcg_10 == pytest.approx(0.4)
    (equal,) = one.equal  # by the spread over its seeds
    assert equal.p_value < 0.05
    assert "only two seeds were run" in one.text


def test_it_names_the_one_of_which_fewer_seeds_were_run(made, ledger):
    """Three seeds of the first were run, so "one seed was run" would be false."""
    ledger.append([made(0.4, 24, batch_size=32, seed=seed) for seed in range(3)])
    ledger.append([made(0.395, 12, loss="rece", batch_size=32)])
    with_baselines(ledger, popularity=0.1)
    unknown = clauses(ledger).clauses["unknown"]
    assert unknown == (
        "Keep in mind: only one seed of rece, batch 32 was run, and another may change the order."
    )


def test_two_data_sets_of_one_name_are_named_apart(made, ledger):
    one, other = made(0.4, 24), made(0.3, 24, batch_size=64)
    ledger.append([one, replace(other, run=replace(other.run, data_fingerprint="d2"))])
    found = [sentence.data for sentence in answer(ledger).sentences]
    assert len(set(found)) == 2
    assert sum(name.endswith(", data d2") for name in found) == 1


def test_a_hair_above_a_baseline_is_not_zero_percent(made, ledger):
    ledger.append([made(0.4, 24), made(0.3, 24, loss="rece")])
    with_baselines(ledger, popularity=0.1, last_item_follower=0.39999)
    assert "is less than 0.1 % above the best baseline" in clauses(ledger).clauses["distance"]


@pytest.mark.parametrize("name", ["nope", "beauty-losses"])
def test_a_study_that_the_ledger_does_not_have_is_refused_with_those_that_it_has(
    made, studied, name
):
    """The studies of scalelab itself are none of this ledger."""
    studied.append(front(made))
    with pytest.raises(SpecError, match=f"has no study called '{name}'") as refused:
        answer(studied, study=name)
    assert refused.value.hint == "there are: mine"
