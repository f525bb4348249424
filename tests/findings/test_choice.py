"""Who is the best of a comparison, what is equal to it, and what is cheaper."""

from dataclasses import replace

import numpy as np
import pytest

from scalelab.findings import choice
from scalelab.findings.candidates import NDCG, Candidate, Group
from scalelab.findings.choice import choose
from scalelab.findings.user_ranks import UserGains
from scalelab.findings.verdicts import Baseline, Verdict

NO_VERDICT = Verdict(seeds=1, at_baseline=0, still_rising=0, below="")
AT_BASELINE = replace(NO_VERDICT, at_baseline=1)


def _one(name, valid, peak, *, test=None, std=None, eval_peak=None, verdict=NO_VERDICT):
    return Candidate(
        key=(name,),
        label=name,
        settings={},
        seeds=1,
        valid=valid,
        test=valid if test is None else test,
        test_std=std,
        oracle=None,
        ndcg_10=NDCG(valid=valid, test=valid, test_std=std, oracle=None),
        peak_bytes=peak,
        eval_peak_bytes=eval_peak,
        train_s=1.0,
        verdict=verdict,
    )


@pytest.fixture
def chosen(monkeypatch):
    """What is chosen among candidates, of whose test users the metric may be known."""

    def choose_among(*candidates, gains=None, baselines=()):
        known = {(name,): UserGains(found, None) for name, found in (gains or {}).items()}
        monkeypatch.setattr(choice, "user_gains", lambda ledger, keys, metric: known)
        group = Group(
            data="beauty",
            data_fingerprint="d",
            protocol="p",
            metric="ndcg@10",
            num_users=100,
            candidates=candidates,
            num_finished=len(candidates),
            num_fit=len(candidates),
            num_with_lost=0,
            last_seed=0,
            least_bytes=1,
            best_test=1.0,
            least_needed_bytes=min(c.needed_bytes or 1000 for c in candidates),
            num_with_peak=len(candidates),
            num_rising=0,
            num_at_baseline=0,
            endings={},
        )
        return choose(None, group, list(baselines))

    return choose_among


def test_the_first_is_the_best_only_where_nothing_speaks_against_it(chosen):
    best, other = _one("a", 0.4, 100), _one("b", 0.2, 100)
    assert chosen(best, other).is_best
    assert not chosen(best).is_best  # of one alone nothing is the best
    assert not chosen(best, _one("b", 0.4, 100)).is_best
    assert not chosen(best, _one("b", 0.399, 100)).is_best  # close, and nobody can tell
    higher = [Baseline(dataset="d", name="popularity", valid=0.4, test=0.4)]
    assert chosen(best, other, baselines=higher).below_baseline
    lower = [replace(higher[0], test=0.3), replace(higher[0], test=None)]
    assert not chosen(best, other, baselines=lower).below_baseline


def test_zero_and_the_level_of_a_baseline_are_nothing_learned(chosen):
    assert chosen(_one("a", 0.4, 9)).nothing_learned == ""
    assert chosen(_one("a", 0.4, 9, test=0.0)).nothing_learned == "zero"
    assert chosen(_one("a", 0.4, 9, verdict=AT_BASELINE)).nothing_learned == "at_baseline"


def test_equal_is_what_seeds_or_users_may_set_apart(chosen):
    best = _one("a", 0.40, 100, std=0.02)
    assert chosen(best, _one("b", 0.39, 100)).equal
    assert not chosen(best, _one("b", 0.37, 100)).equal
    generator = np.random.default_rng(0)
    noise = generator.normal(size=200)
    same = {"a": noise, "b": generator.permutation(noise)}
    plain = _one("a", 0.40, 100), _one("b", 0.30, 100)
    assert chosen(*plain, gains=same).equal
    apart = {"a": noise + 1.0, "b": noise + 0.1 * generator.normal(size=200)}
    found = chosen(*plain, gains=apart)
    assert (found.equal, found.better_on_test, found.untested) == ((), (), 0)
    # Validation placed it lower, and the test users are ranked better by it.
    turned = chosen(*plain, gains={"a": apart["b"], "b": apart["a"]})
    assert [one.label for one in turned.better_on_test] == ["b"]
    # Other users than those of the best one: not to be compared user by user.
    assert chosen(*plain, gains=same | {"b": noise[:50]}).untested == 1


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (_one("b", 0.399, 90), "b"),
        (_one("b", 0.399, 96), None),  # 4 % of the memory is not worth a sentence
        (_one("b", 0.2, 50), None),  # not close
        (_one("b", 0.399, 90, test=0.0), None),
        (_one("b", 0.399, 90, eval_peak=100), None),  # evaluation needs as much
        (_one("b", 0.399, 90, verdict=AT_BASELINE), None),
        (_one("b", 0.399, None), None),
    ],
)
def test_cheaper_is_what_saves_memory_and_comes_close(chosen, other, found):
    cheaper = chosen(_one("a", 0.4, 100), other).cheaper
    assert (cheaper and cheaper.label) == found


def test_an_evaluation_of_unknown_memory_saves_none(chosen):
    known, unknown = _one("b", 0.399, 90, eval_peak=80), _one("b", 0.399, 90)
    assert chosen(_one("a", 0.4, 100, eval_peak=1), known).cheaper
    assert not chosen(_one("a", 0.4, 100, eval_peak=1), unknown).cheaper
