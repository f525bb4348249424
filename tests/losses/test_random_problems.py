"""Random options, sources, sizes and tiles against formulas that look at one position at a time.

All in float64, so that nothing but a wrong formula can tell them apart.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid, normalize

from scalelab.core import plugins
from scalelab.losses import LossBatch, Negatives
from scalelab.losses.streaming.table_gradient import TableGradient

FULL = ("cross_entropy", "dense_ce")
SAMPLED = ("bce", "gbce", "bpr", "bpr_max", "top1", "top1_max", "sampled_softmax")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A loss with its options, and what it is computed on."""

    name: str
    options: dict[str, Any]
    hidden_ND: Tensor
    items_VD: Tensor
    batch: LossBatch


def drawn(seed: int) -> Drawn:
    """From one position and one item up, with empty places, hits, and several sources."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    def one_of(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    positions, items, depth = (int(one_of(*some)) for some in ((1, 5, 12), (2, 3, 30), (1, 4, 9)))
    name = one_of(*FULL, *SAMPLED, *SAMPLED)
    sequences = int(rng.integers(1, positions + 1))
    ids = {"position": (positions,), "sequence": (sequences,), "batch": ()}
    sources = []
    for _ in range(int(rng.integers(1, 4))):
        per, number = one_of(*ids), int(one_of(1, 2, 7, 40))
        law = one_of(0.0, 0.5, 1.0, None)
        own = torch.log_softmax(torch.randn(items + 1, dtype=torch.float64), 0)
        some = torch.randint(0, items + 1, (*ids[per], number), dtype=torch.int32)
        sources.append(Negatives(per, some, law, own if law is None else None))
    batch = LossBatch(
        targets_N=torch.randint(1, items + 1, (positions,)),
        num_items=items,
        sequence_N=torch.sort(torch.randint(0, sequences, (positions,)))[0].int(),
        negatives=() if name in FULL else tuple(sources),
        log_popularity_V=torch.log_softmax(torch.randn(items + 1, dtype=torch.float64), 0),
    )
    scale = float(one_of(0.3, 1.0, 4.0))
    hidden_ND = scale * torch.randn(positions, depth, dtype=torch.float64)
    items_VD = torch.randn(items + 1, depth, dtype=torch.float64)
    items_VD[0] = 0
    return Drawn(
        name=name,
        options=_options(name, one_of, sum(source.ids.shape[-1] for source in sources)),
        hidden_ND=hidden_ND.requires_grad_(),
        items_VD=items_VD.requires_grad_(),
        batch=batch,
    )


def _options(name: str, one_of: Any, num_negatives: int) -> dict[str, Any]:
    if name in FULL:
        tiles = {"tile_mib": one_of("auto", 1e-4, 1e-3)} if name == "cross_entropy" else {}
        return {"include_padding": one_of(True, False), **tiles}
    found = {
        "remove_accidental_hits": one_of(True, False),
        "top_k": one_of(None, None, 1, num_negatives),
    }
    if name in ("bce", "gbce"):
        found["reduction"] = one_of("mean", "sum", "balanced")
    if name == "gbce":
        found["t"] = one_of(0.0, 0.4, 1.0)
    if name in ("bpr_max", "top1", "top1_max"):
        found["reg"] = one_of(0.0, 0.7)
    if name == "bpr_max":
        found["elu"] = one_of(0.0, 0.5)
    if name == "sampled_softmax":
        found |= {"temperature": one_of(1.0, 0.3), "cosine": one_of(True, False)}
        if one_of(True, False):
            found |= {"logq": one_of(0.5, 1.0), "logq_of": one_of("source", "mixture")}
            if found["logq_of"] == "mixture":
                found["logq_target"] = one_of(True, False)
    return found


def plain(of: Drawn, hidden_ND: Tensor, items_VD: Tensor) -> Tensor:
    """The mean over positions, each with a list of its own."""
    return torch.stack([_of_one(of, n, hidden_ND, items_VD) for n in range(len(hidden_ND))]).mean()


def _of_one(of: Drawn, n: int, hidden_ND: Tensor, items_VD: Tensor) -> Tensor:
    target, hidden_D = int(of.batch.targets_N[n]), hidden_ND[n]
    if of.name in FULL:
        scores = items_VD[0 if of.options["include_padding"] else 1 :] @ hidden_D
        return torch.logsumexp(scores, 0) - items_VD[target] @ hidden_D
    if of.options.get("cosine"):
        hidden_D, items_VD = normalize(hidden_D, dim=0), normalize(items_VD, dim=1)
    scores_V = items_VD @ hidden_D / of.options.get("temperature", 1.0)
    negatives = []
    for number, source in enumerate(of.batch.negatives):
        assert of.batch.sequence_N is not None
        place = {"position": n, "sequence": int(of.batch.sequence_N[n]), "batch": ...}[source.per]
        for item in source.ids[place].tolist():
            if item and not (of.options["remove_accidental_hits"] and item == target):
                negatives.append(scores_V[item] - _taken_off(of, item, number))
    negatives = sorted(negatives, key=Tensor.item, reverse=True)[: of.options["top_k"]]
    score = scores_V[target]
    if of.options.get("logq_target", True):
        score = score - _taken_off(of, target, 0)
    found = torch.stack(negatives) if negatives else score.new_empty(0)
    return _formula(of, score, found)


def _taken_off(of: Drawn, item: int, number: int) -> float:
    if not of.options.get("logq"):
        return 0.0
    assert of.batch.log_popularity_V is not None
    log_share = of.batch.log_popularity_V

    def chance(source: Negatives, *, normed: bool) -> float:
        if source.exponent is None:
            assert source.log_share_V is not None
            return math.exp(source.log_share_V[item])
        all_of_them = (source.exponent * log_share[1:]).exp().sum() if normed else 1.0
        return math.exp(source.exponent * log_share[item]) / float(all_of_them)

    sources = of.batch.negatives
    if of.options["logq_of"] == "source":
        return of.options["logq"] * math.log(chance(sources[number], normed=False))
    drawn = sum(source.ids.shape[-1] * chance(source, normed=True) for source in sources)
    return of.options["logq"] * math.log(drawn)


def _formula(of: Drawn, score: Tensor, negatives: Tensor) -> Tensor:
    options, count = of.options, len(negatives)
    if of.name in ("bce", "gbce"):
        drawn = sum(source.ids.shape[-1] for source in of.batch.negatives)
        alpha = min(1.0, drawn / max(1, of.batch.num_items - 1))
        beta = alpha * (options["t"] * (1 - 1 / alpha) + 1 / alpha) if of.name == "gbce" else 1.0
        own, others = -beta * logsigmoid(score), -logsigmoid(-negatives).sum()
        if options["reduction"] == "sum":
            return own + others
        if options["reduction"] == "mean":
            return (own + others) / (1 + count)
        return own + others / max(1, count)
    if of.name == "sampled_softmax":
        return torch.logsumexp(torch.cat([score[None], negatives]), 0) - score
    if of.name == "bpr_max" and options["elu"]:
        score, negatives = elu(score, options["elu"]), elu(negatives, options["elu"])
    if not count:
        return 0 * score
    weights = negatives.softmax(0)
    if of.name == "bpr":
        return -logsigmoid(score - negatives).mean()
    if of.name == "bpr_max":
        lead = (weights * (score - negatives).sigmoid()).sum()
        return -lead.log() + options["reg"] * (weights * negatives**2).sum()
    terms = (negatives - score).sigmoid() + options["reg"] * (negatives**2).sigmoid()
    return terms.mean() if of.name == "top1" else (weights * terms).sum()


@pytest.mark.parametrize("first", range(0, 240, 40))
def test_value_and_gradients(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, first + 40):
        of = drawn(seed)
        tile = (2**20, 1, 200)[seed % 3]
        monkeypatch.setattr("scalelab.losses._sampled._TILE_FLOATS", tile)
        loss = plugins.load("losses", of.name)(**of.options)
        wanted = plain(of, of.hidden_ND, of.items_VD)
        by_hidden, by_items = torch.autograd.grad(
            wanted, (of.hidden_ND, of.items_VD), allow_unused=True, materialize_grads=True
        )
        found = loss(of.hidden_ND, of.items_VD, of.batch)
        own = torch.autograd.grad(found, (of.hidden_ND, of.items_VD))
        _same(of, seed, (found, wanted), (own[0], by_hidden), (own[1], by_items))
        if callable(getattr(loss, "streamed", None)):
            value, gradient = loss.streamed(of.hidden_ND, of.items_VD, of.batch)
            (streamed,) = torch.autograd.grad(value, of.hidden_ND)
            whole_VD = _made(gradient, torch.zeros_like(of.items_VD.detach()))
            _same(of, seed, (value, wanted), (streamed, by_hidden), (whole_VD, by_items))


def _made(gradient: TableGradient, whole_VD: Tensor) -> Tensor:
    """The gradient of the table, some rows at a time."""
    for rows in gradient.single_rows():
        known = rows.ids_M < len(whole_VD)  # the others are empty places
        whole_VD.index_add_(0, rows.ids_M[known].long(), rows.rows_MD[known])
    for begin in range(0, len(whole_VD), 7) if gradient.touches_all else ():
        end = min(begin + 7, len(whole_VD))
        gradient.add_tile(whole_VD[begin:end], begin, end)
    return whole_VD


def _same(of: Drawn, seed: int, *pairs: tuple[Tensor, Tensor]) -> None:
    where = f"seed {seed}: {of.name} {of.options}"
    for found, wanted in pairs:
        if found.shape == of.items_VD.shape:  # padding is never trained
            found, wanted = found[1:], wanted[1:]
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11, msg=where)
