"""What is taken off the scores of sampled losses, against numbers computed by hand."""

import math

import pytest
import torch

from scalelab.losses import LossBatch, Negatives
from scalelab.losses._proposal import Proposal  # noqa: PLC2701

# Items 1 to 3 have half, a quarter and a quarter of the interactions; item 0 is padding.
SHARES = torch.tensor([1.0, 0.5, 0.25, 0.25], dtype=torch.float64)
IDS = torch.tensor([1, 3])


def proposal(*sources: Negatives, **options) -> Proposal:
    batch = LossBatch(
        targets_N=torch.tensor([1, 2]),
        num_items=3,
        negatives=sources,
        log_popularity_V=SHARES.log(),
    )
    return Proposal(batch=batch, **{"strength": 1.0, **options})


def source(number: int, exponent: float | None, shares: list[float] | None = None) -> Negatives:
    own = None if shares is None else torch.tensor(shares, dtype=torch.float64).log()
    return Negatives("batch", torch.ones(number, dtype=torch.int64), exponent, own)


POPULAR, UNIFORM = source(4, 0.5), source(6, 0.0)
OWN = source(2, None, [1.0, 0.1, 0.2, 0.7])


def test_a_source_takes_off_the_power_of_popularity_that_it_draws_by():
    found = proposal(POPULAR, strength=2.0).of_negatives(IDS, 0)
    assert found.tolist() == pytest.approx([math.log(0.5), math.log(0.25)])


def test_a_uniform_source_and_no_strength_take_nothing_off():
    assert proposal(UNIFORM).of_negatives(IDS, 0) is None
    assert proposal(POPULAR, strength=0.0).of_negatives(IDS, 0) is None


def test_each_source_has_its_own_law():
    both = proposal(POPULAR, OWN)
    assert both.of_negatives(IDS, 1).tolist() == pytest.approx([math.log(0.1), math.log(0.7)])
    assert both.of_negatives(IDS, 0).tolist() == pytest.approx([math.log(0.5) / 2, math.log(0.5)])


def test_targets_are_corrected_by_the_first_source_or_not_at_all():
    targets = torch.tensor([2])
    assert proposal(OWN, POPULAR).of_targets(targets).tolist() == pytest.approx([math.log(0.2)])
    assert proposal(OWN, POPULAR, target=False).of_targets(targets) is None


def test_a_mixture_is_how_often_all_sources_are_expected_to_draw_an_item():
    found = proposal(POPULAR, UNIFORM, OWN, of="mixture", strength=0.5).of_negatives(IDS, 1)
    roots = [math.sqrt(share) for share in (0.5, 0.25, 0.25)]
    expected = [4 * roots[at] / sum(roots) + 6 / 3 + 2 * own for at, own in ((0, 0.1), (2, 0.7))]
    assert found.tolist() == pytest.approx([0.5 * math.log(each) for each in expected])
