"""Rounds of halving: who goes on, with how many epochs, and when nothing more runs."""

import pyarrow as pa
import pytest

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.core.study import HalvingSpec, StudySpec
from scalelab.studies.grid import Configuration
from scalelab.sweeping.halving import check_halving, first_round, run_rounds

HALVING = HalvingSpec(epochs=(1, 4, 9), factor=2)
BASE = RunSpec.load("sasrec-synthetic")


class Qualities:
    """A ledger that knows the validation quality of some runs."""

    def __init__(self, known):
        self.known = known

    def query(self, sql, parameters):
        found = {name: self.known[name] for name in parameters[0] if name in self.known}
        return pa.table({"fingerprint": list(found), "quality": list(found.values())})


def _configurations(seeds=1):
    return [
        Configuration(
            spec=BASE.with_({"train.learning_rate": rate / 1000, "train.seed": seed}),
            label=f"rate={rate}",
            repeat=seed,
        )
        for seed in range(seeds)
        for rate in range(1, 7)
    ]


def _rounds(quality, seeds=1, stop_after=None):
    """The (rate, seed, epochs) of each round, whose runs have the quality of rate and seed."""
    rounds, messages, known = [], [], {}

    def run_round(these):
        rounds.append(
            [
                (round(1000 * c.spec.train.learning_rate), c.repeat, c.spec.train.epochs)
                for c in these
            ]
        )
        names = [f"{len(rounds)}-{rate}-{seed}" for rate, seed, _ in rounds[-1]]
        for name, (rate, seed, _) in zip(names, rounds[-1], strict=True):
            if (value := quality(rate, seed)) is not None:
                known[name] = value
        return None if len(rounds) == stop_after else names

    run_rounds(
        HALVING,
        _configurations(seeds),
        run_round=run_round,
        ledger=Qualities(known),
        tell=messages.append,
    )
    return rounds, messages


def test_the_better_half_goes_on_with_more_epochs_but_never_fewer_than_two():
    rounds, messages = _rounds(lambda rate, seed: rate / 10)
    assert rounds == [
        [(rate, 0, 1) for rate in range(1, 7)],
        [(6, 0, 4), (5, 0, 4), (4, 0, 4)][::-1],
        [(5, 0, 9), (6, 0, 9)],
    ]
    assert messages == [
        "round 2 of 3: 3 go on, with 4 epochs",
        "round 3 of 3: 2 go on, with 9 epochs",
    ]


def test_the_mean_over_seeds_decides_and_all_seeds_go_on():
    # The lone 0.9 of rate 1 is not its mean.
    table = {(1, 0): 0.9, (1, 1): 0.0, (2, 0): 0.5, (2, 1): 0.5, (3, 0): 0.6, (3, 1): 0.5}
    rounds, _ = _rounds(lambda rate, seed: table.get((rate, seed), 0.48), seeds=2)
    assert {(rate, seed) for rate, seed, _ in rounds[2]} == {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_what_failed_in_all_seeds_goes_no_further_and_a_stop_ends_the_rounds():
    rounds, _ = _rounds(lambda rate, seed: None if rate > 2 else 0.1)
    assert [len(each) for each in rounds] == [6, 2, 2]
    rounds, _ = _rounds(lambda rate, seed: 0.1, stop_after=1)
    assert len(rounds) == 1


def test_the_first_round_trains_all_for_the_first_epochs():
    found = first_round(HALVING, _configurations())
    assert [each.spec.train.epochs for each in found] == [1] * 6
    assert found[0].label == "rate=1 epochs=1"


RATES = {"train.learning_rate": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("sections", "overrides", "said"),
    [
        ({"axes": {"train.epochs": [1, 2]}}, {}, "sets train.epochs"),
        ({"cells": [{"train.epochs": 2}], "axes": RATES}, {}, "sets train.epochs"),
        ({"axes": RATES}, {"train.epochs": 3}, "sets train.epochs"),
        ({"axes": RATES, "search": {"trials": 2}}, {}, "both choose"),
    ],
)
def test_two_that_set_the_epochs_or_choose_are_refused(sections, overrides, said):
    base = {"name": "mine", "base": "sasrec-synthetic", "halving": {"epochs": (1, 3)}}
    with pytest.raises(SpecError, match=said):
        check_halving(StudySpec.model_validate(base | sections), overrides)


def test_without_halving_and_with_other_keys_nothing_is_refused():
    base = {"name": "mine", "base": "sasrec-synthetic", "axes": {"train.epochs": [1, 2]}}
    check_halving(StudySpec.model_validate(base), {})
    halved = base | {"halving": {"epochs": (1, 3)}, "axes": RATES}
    check_halving(StudySpec.model_validate(halved), {"train.learning_rate": 0.3})
