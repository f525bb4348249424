"""Corrections for how negatives are drawn, cosines and temperature, against plain formulas."""

import pytest
import torch
from torch.nn.functional import normalize

from scalelab.core import plugins
from scalelab.losses import LossBatch, Negatives, own_scores
from scalelab.losses._rows import Rows, through_unit_rows  # noqa: PLC2701
from scalelab.losses.streaming.table_gradient import TableGradient
from scalelab.testing.loss_problem import gradients, problem

SHARES = torch.tensor([0.25, 0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
"""Of five items; the first number is that of padding."""


def make(**options):
    return plugins.load("losses", "sampled_softmax")(**options)


def expected_draws(batch):
    """How often each item is drawn by all sources together, from the sources' own laws."""
    total = torch.zeros(len(SHARES) - 1, dtype=torch.float64)
    for source in batch.negatives:
        weights = SHARES[1:] ** source.exponent
        total += source.ids.shape[-1] * weights / weights.sum()
    return total


def batch_of(num_positions=3):
    draw = torch.Generator().manual_seed(2)
    shapes = (("position", (num_positions, 3), 0.0), ("batch", (4,), 1.0), ("batch", (2,), 0.5))
    return LossBatch(
        targets_N=torch.randint(1, 6, (num_positions,), generator=draw),
        num_items=5,
        negatives=tuple(
            Negatives(per, torch.randint(1, 6, shape, generator=draw), exponent)
            for per, shape, exponent in shapes
        ),
        log_popularity_V=SHARES.log(),
    )


@pytest.mark.parametrize("on_target", [True, False])
def test_a_mixture_is_corrected_by_what_all_sources_draw_together(on_target):
    batch = batch_of()
    hidden_ND = torch.randn(3, 4, dtype=torch.float64)
    items_VD = torch.randn(6, 4, dtype=torch.float64)
    log_q = torch.cat([torch.zeros(1, dtype=torch.float64), expected_draws(batch).log()])
    terms = []
    for n, target in enumerate(batch.targets_N.tolist()):
        ids = torch.cat([s.ids[n] if s.per == "position" else s.ids for s in batch.negatives])
        ids = ids[ids != target]
        scores = items_VD[ids] @ hidden_ND[n] - log_q[ids]
        own = items_VD[target] @ hidden_ND[n] - on_target * log_q[target]
        terms.append(torch.logsumexp(torch.cat([own[None], scores]), 0) - own)
    loss = make(logq=1.0, logq_of="mixture", logq_target=on_target)
    wanted = torch.stack(terms).mean()
    torch.testing.assert_close(loss(hidden_ND, items_VD, batch), wanted, rtol=1e-12, atol=1e-12)


def test_of_one_source_a_mixture_is_the_sources_own_correction():
    batch = batch_of()
    batch = LossBatch(
        targets_N=batch.targets_N,
        num_items=5,
        negatives=batch.negatives[1:2],
        log_popularity_V=batch.log_popularity_V,
    )
    operands = torch.randn(3, 4).double(), torch.randn(6, 4).double()
    together = make(logq=1.0, logq_of="mixture")(*operands, batch)
    torch.testing.assert_close(together, make(logq=1.0)(*operands, batch), rtol=1e-12, atol=1e-12)


# Draws of two sources: 12 uniform and 12 by popularity.
def drawn(draw, shares, exponent, num):
    weights = shares[1:] ** exponent
    return 1 + torch.multinomial(weights, num, replacement=True, generator=draw)


@pytest.mark.parametrize(
    ("options", "unbiased"),
    [
        ({"logq_of": "mixture", "logq_target": False}, True),
        pytest.param({"logq_of": "mixture"}, False, marks=pytest.mark.slow),
        pytest.param({}, False, marks=pytest.mark.slow),
    ],
)
def test_with_the_target_left_alone_the_sum_over_all_items_is_estimated_without_bias(
    options, unbiased
):
    """exp(loss) - 1 is that sum over exp(score of the target): on average it is exact."""
    draw = torch.Generator().manual_seed(0)
    hidden_D = torch.randn(4, generator=draw, dtype=torch.float64)
    items_VD = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    target, repeats = 2, 4000
    scores_V = items_VD[1:] @ hidden_D
    exact = (scores_V.exp().sum() - scores_V[target - 1].exp()) / scores_V[target - 1].exp()
    sources = tuple(
        Negatives("position", drawn(draw, SHARES, e, repeats * 12).view(repeats, 12), e)
        for e in (0.0, 1.0)
    )
    loss = make(logq=1.0, **options)
    estimates = torch.stack(
        [
            loss(
                hidden_D[None],
                items_VD,
                LossBatch(
                    targets_N=torch.tensor([target]),
                    num_items=5,
                    negatives=tuple(s._replace(ids=s.ids[n : n + 1]) for s in sources),
                    log_popularity_V=SHARES.log(),
                ),
            ).exp()
            - 1
            for n in range(repeats)
        ]
    )
    off = (estimates.mean() - exact).abs() / (estimates.std() / repeats**0.5)
    assert (off < 4) == unbiased


OWN = torch.tensor([1.0, 0.5, 0.0, 0.2, 0.25, 0.05], dtype=torch.float64)
"""What a source of its own law draws; nobody draws the second item. The first is padding."""


def with_own_law(ids, per="position"):
    return Negatives(per, ids, None, OWN.log())


def test_a_source_of_its_own_law_is_corrected_by_it():
    hidden_ND = torch.randn(1, 4, dtype=torch.float64)
    items_VD = torch.randn(6, 4, dtype=torch.float64)
    ids = torch.tensor([[3, 1, 5, 0]])  # the last place is empty
    batch = LossBatch(
        targets_N=torch.tensor([4]),
        num_items=5,
        negatives=(with_own_law(ids),),
        log_popularity_V=SHARES.log(),
    )
    scores = items_VD[1:] @ hidden_ND[0] - 0.7 * OWN[1:].log()
    wanted = torch.logsumexp(scores[[3, 2, 0, 4]], 0) - scores[3]
    found = make(logq=0.7)(hidden_ND, items_VD, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("with_uniform", [True, False])
def test_own_laws_alone_and_in_mixtures_estimate_the_sum_over_all_items_without_bias(with_uniform):
    """Alone they estimate the sum over what they may draw."""
    draw = torch.Generator().manual_seed(0)
    hidden_D = torch.randn(4, generator=draw, dtype=torch.float64)
    items_VD = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    target, repeats = 4, 4000
    exps_V = (items_VD @ hidden_D).exp()
    others = [i for i in range(1, 6) if i != target and (with_uniform or OWN[i] > 0)]
    exact = exps_V[others].sum() / exps_V[target]
    own = 1 + torch.multinomial(OWN[1:], repeats * 12, replacement=True, generator=draw)
    sources = [with_own_law(own.view(repeats, 12))]
    if with_uniform:
        uniform = drawn(draw, SHARES, 0.0, repeats * 12).view(repeats, 12)
        sources.append(Negatives("position", uniform, 0.0))
    loss = make(logq=1.0, logq_of="mixture", logq_target=False)
    batches = (
        LossBatch(
            targets_N=torch.tensor([target]),
            num_items=5,
            negatives=tuple(s._replace(ids=s.ids[n : n + 1]) for s in sources),
            log_popularity_V=SHARES.log(),
        )
        for n in range(repeats)
    )
    estimates = torch.stack([loss(hidden_D[None], items_VD, b).exp() - 1 for b in batches])
    off = (estimates.mean() - exact).abs() / (estimates.std() / repeats**0.5)
    assert off < 4


def reference(hidden_ND, items_VD, batch, temperature):
    terms = []
    hidden_ND, items_VD = normalize(hidden_ND, dim=1), normalize(items_VD, dim=1)
    for n, target in enumerate(batch.targets_N.tolist()):
        ids = []
        for source in batch.negatives:
            place = {"position": n, "sequence": int(batch.sequence_N[n])}.get(source.per)
            ids.append(source.ids if place is None else source.ids[place])
        ids = torch.cat(ids).long()
        ids = torch.cat([torch.tensor([target]), ids[(ids != 0) & (ids != target)]])
        scores = items_VD[ids] @ hidden_ND[n] / temperature
        terms.append(torch.logsumexp(scores, 0) - scores[0])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("top_k", [None, 18])
def test_cosines_and_temperature_have_the_gradients_of_the_plain_formula(top_k):
    hidden_ND, items_VD, batch = problem(dtype=torch.float64)
    loss = make(cosine=True, temperature=0.2, top_k=top_k)
    found = gradients(loss, hidden_ND, items_VD, batch)
    plain = reference(hidden_ND, items_VD, batch, 0.2)
    wanted = (plain.detach(), *torch.autograd.grad(plain, (hidden_ND, items_VD)))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_streamed_update_gets_the_same_gradient_of_cosines():
    hidden_ND, items_VD, batch = problem(dtype=torch.float64)
    loss = make(cosine=True, temperature=0.2)
    _, by_hidden_ND, by_items_VD = gradients(loss, hidden_ND, items_VD, batch)
    value, gradient = loss.streamed(hidden_ND, items_VD, batch)
    assert isinstance(gradient, TableGradient)
    (streamed_ND,) = torch.autograd.grad(value, (hidden_ND,))
    torch.testing.assert_close(streamed_ND, by_hidden_ND, rtol=1e-12, atol=1e-14)
    (rows,) = gradient.single_rows()
    whole = torch.zeros(len(items_VD) + 1, items_VD.shape[1], dtype=torch.float64)
    whole[rows[0]] = rows[1]
    torch.testing.assert_close(whole[:-1], by_items_VD, rtol=1e-12, atol=1e-14)


def test_evaluation_ranks_by_the_cosine_where_training_did():
    hidden_SD, items_WD = torch.randn(3, 4), torch.randn(5, 4)
    assert own_scores(make(temperature=0.1)) is None
    scores = own_scores(make(cosine=True, temperature=0.1))
    assert scores is not None
    wanted = torch.cosine_similarity(hidden_SD[:, None], items_WD[None], dim=2)
    torch.testing.assert_close(scores(hidden_SD, items_WD), wanted)


def test_rows_of_a_bf16_table_get_their_length_in_float32():
    table_VD = torch.randn(50, 64, dtype=torch.bfloat16)
    rows_MD = Rows(table_VD, torch.float32, unit=True).of(torch.arange(50))
    torch.testing.assert_close(rows_MD.norm(dim=1), torch.ones(50), rtol=0, atol=1e-6)
    scores = own_scores(make(cosine=True, temperature=0.1))
    assert scores is not None
    hidden_SD = torch.randn(3, 64)
    in_training = normalize(hidden_SD, dim=1) @ rows_MD.T
    assert in_training.equal(scores(hidden_SD, table_VD.float()))
    grad_CD = torch.randn(50, 64)
    by_bf16, by_float32 = grad_CD.clone(), grad_CD.clone()
    through_unit_rows(by_bf16, table_VD)
    through_unit_rows(by_float32, table_VD.float())
    assert by_bf16.equal(by_float32)
