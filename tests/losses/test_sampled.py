"""Losses over negatives: the formulas of their papers, whatever the sources, and bad options."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import elu, logsigmoid, softplus

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, Negatives


def make(name, **options):
    return plugins.load("losses", name)(**options)


# One position at a time, in the words of the papers: p target score, n scores of real negatives.
def bce_mean(p, n):
    return (softplus(-p) + softplus(n).sum()) / (1 + len(n))


def bce_sum(p, n):
    return -logsigmoid(p) - torch.log1p(-torch.sigmoid(n)).sum()


def softmax(p, n):
    return -torch.log_softmax(torch.cat([p[None], n]), 0)[0]


def top_3(p, n):
    return softmax(p, n.sort(descending=True).values[:3])


def bpr(p, n):
    return -logsigmoid(p - n).mean()


def top1(p, n):
    return (torch.sigmoid(n - p) + 0.5 * torch.sigmoid(n * n)).mean()


def bpr_max(p, n):
    p, n = elu(p, 0.7), elu(n, 0.7)
    s = n.softmax(0)
    return -(s * torch.sigmoid(p - n)).sum().log() + 0.3 * (s * n * n).sum()


def top1_max(p, n):
    s = n.softmax(0)
    return (s * (torch.sigmoid(n - p) + 0.5 * torch.sigmoid(n * n))).sum()


def of_top_3(formula):
    return lambda p, n: formula(p, n.sort(descending=True).values[:3])


FORMULAS = [
    (bce_mean, "bce", {}),
    (bce_sum, "bce", {"reduction": "sum"}),
    (softmax, "sampled_softmax", {}),
    (top_3, "sampled_softmax", {"top_k": 3}),
    (bpr, "bpr", {}),
    (top1, "top1", {"reg": 0.5}),
    (bpr_max, "bpr_max", {"reg": 0.3, "elu": 0.7}),
    (top1_max, "top1_max", {"reg": 0.5}),
    (of_top_3(bce_mean), "bce", {"top_k": 3}),
    (of_top_3(bpr), "bpr", {"top_k": 3}),
    (of_top_3(bpr_max), "bpr_max", {"reg": 0.3, "elu": 0.7, "top_k": 3}),
    (of_top_3(top1), "top1", {"reg": 0.5, "top_k": 3}),
    (of_top_3(top1_max), "top1_max", {"reg": 0.5, "top_k": 3}),
]


@pytest.mark.parametrize(("formula", "name", "options"), FORMULAS)
@settings(max_examples=15)
@given(
    sources=st.lists(st.sampled_from(["position", "sequence", "batch"]), min_size=1, max_size=4),
    tile=st.sampled_from([1, 100, 2**20]),
    remove_accidental_hits=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_is_the_formula_whatever_the_sources(
    formula, name, options, sources, tile, remove_accidental_hits, seed
):
    draw = torch.Generator().manual_seed(seed)
    num_positions, num_sequences, num_items, depth = 9, 4, 12, 3
    hidden_ND = torch.randn(num_positions, depth, generator=draw, dtype=torch.float64)
    items_VD = torch.randn(num_items + 1, depth, generator=draw, dtype=torch.float64)
    targets_N = torch.randint(1, num_items + 1, (num_positions,), generator=draw)
    sequence_N = torch.arange(num_positions, dtype=torch.int32) % num_sequences
    sizes = {"position": (num_positions, 4), "sequence": (num_sequences, 4), "batch": (4,)}
    negatives, columns = [], []
    for per in sources:
        ids = torch.randint(0, num_items + 1, sizes[per], generator=draw, dtype=torch.int32)
        ids[..., 0] = 1 + seed % num_items
        negatives.append(Negatives(per, ids))
        wide = ids[sequence_N.long()] if per == "sequence" else ids
        columns.append(wide.expand(num_positions, -1))
    hidden_ND.requires_grad_()
    items_VD.requires_grad_()
    terms = []
    for hidden, target, ids in zip(hidden_ND, targets_N, torch.cat(columns, 1).long(), strict=True):
        kept = ids[(ids != 0) & ((ids != target) | (not remove_accidental_hits))]
        if len(kept):
            terms.append(formula(hidden @ items_VD[target], items_VD[kept] @ hidden))
        elif name == "bce":
            terms.append(softplus(-hidden @ items_VD[target]))
    wanted = sum(terms, torch.zeros(())) / num_positions
    expected = torch.autograd.grad(wanted, (hidden_ND, items_VD), allow_unused=True)
    batch = LossBatch(
        targets_N=targets_N,
        num_items=num_items,
        sequence_N=sequence_N,
        negatives=tuple(negatives),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scalelab.losses._sampled._TILE_FLOATS", tile)
        ours = make(name, remove_accidental_hits=remove_accidental_hits, **options)(
            hidden_ND, items_VD, batch
        )
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)
    for grad, want in zip(torch.autograd.grad(ours, (hidden_ND, items_VD)), expected, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-8, atol=1e-9)


def small(**fields):
    ids = torch.tensor([[2, 3], [4, 1]], dtype=torch.int32)
    fields = {"negatives": (Negatives("position", ids, 0.5),)} | fields
    return LossBatch(targets_N=torch.tensor([1, 2]), num_items=4, **fields)


def test_gbce_is_bce_at_zero_and_weighs_the_target_by_beta():
    hidden_ND, items_VD = torch.randn(2, 3), torch.randn(5, 3)
    plain = make("bce")(hidden_ND, items_VD, small())
    assert torch.equal(make("gbce", t=0)(hidden_ND, items_VD, small()), plain)
    # alpha = 2 / 3, so beta = t (alpha - 1) + 1.
    target_N = (hidden_ND * items_VD[[1, 2]]).sum(1)
    less = 0.9 * (1 / 3) * softplus(-target_N).mean() / 3
    torch.testing.assert_close(make("gbce", t=0.9)(hidden_ND, items_VD, small()), plain - less)


def test_logq_changes_nothing_for_uniform_draws_and_lowers_what_is_drawn_often():
    hidden_ND, items_VD = torch.zeros(2, 3), torch.randn(5, 3)
    popularity = torch.tensor([0, 0.1, 0.2, 0.3, 0.4]).clamp(min=1e-9).log()
    uniform = small(
        negatives=(Negatives("position", torch.tensor([[2, 3], [4, 1]])),),
        log_popularity_V=popularity,
    )
    loss = make("sampled_softmax", logq=1.0)
    plain = make("sampled_softmax")(hidden_ND, items_VD, uniform)
    assert torch.equal(loss(hidden_ND, items_VD, uniform), plain)
    # With all scores 0, each has the weight popularity ** -exponent.
    got = loss(hidden_ND, items_VD, small(log_popularity_V=popularity))
    weights = torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.4, 0.1]]) ** -0.5
    torch.testing.assert_close(got, -(weights[:, 0] / weights.sum(1)).log().mean())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bce", {"reduction": "median"}, "reduction must be mean, sum or balanced"),
        ("gbce", {"reduction": "median"}, "reduction must be mean, sum or balanced"),
        ("gbce", {"t": 1.5}, "t must lie in"),
        ("sampled_softmax", {"logq": -1.0}, "logq must not be negative"),
        ("sampled_softmax", {"top_k": 0}, "top_k must be at least 1"),
        ("sampled_softmax", {"temperature": 0.0}, "temperature must be above 0"),
        ("sampled_softmax", {"logq": 1.0, "logq_target": False}, "needs logq_of"),
        ("sampled_softmax", {"logq_of": "mixture"}, "corrects nothing with logq = 0"),
        ("bpr_max", {"reg": -1.0}, "reg must not be negative"),
        ("bpr_max", {"elu": -1.0}, "elu must not be negative"),
        ("top1", {"reg": -1.0}, "reg must not be negative"),
        ("top1_max", {"reg": -1.0}, "reg must not be negative"),
    ],
)
def test_bad_options_fail_at_once(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        ({"top_k": 3}, {}, "top_k = 3, but a position has 2 negatives"),
        ({"logq": 1.0}, {}, "logq needs the popularity"),
        ({}, {"negatives": ()}, "needs negatives and"),
    ],
)
def test_what_the_batch_lacks_is_said(options, fields, message):
    with pytest.raises(SpecError, match=message):
        make("sampled_softmax", **options)(torch.randn(2, 3), torch.randn(5, 3), small(**fields))
