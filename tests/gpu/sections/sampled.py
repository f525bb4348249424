"""Time sampled softmax with negatives shared by the batch: fused, tiled, and plain autograd."""

from collections.abc import Callable, Iterator

import torch
from call import Call, OutOfTime
from torch import Tensor

from scalelab.core import plugins
from scalelab.losses import LossBatch, Negatives
from sections.losses import Measured, fastest, figures, measure

__all__ = ["run"]

# Positions, items, width, negatives; in order of worth.
POINTS = [
    (4096, 1_000_000, 64, 8192),
    (1024, 1_000_000, 64, 8192),
    (51_200, 1_000_000, 64, 12_288),
    (4096, 10_000_000, 64, 8192),
    (4096, 1_000_000, 128, 8192),
    (1024, 100_000, 64, 1024),
    (4096, 12_101, 64, 4096),
]


def run(call: Call) -> None:
    """As in training: fp32 weights, for bf16 under autocast; fp32 gradients of both operands."""
    for positions, items, depth, shared in POINTS if call.is_cuda else [(64, 500, 16, 32)]:
        call.need(4)
        draw = torch.Generator(call.device).manual_seed(0)
        size = {"generator": draw, "device": call.device}
        hidden_ND = torch.randn(positions, depth, **size)
        table_VD = torch.randn(items + 1, depth, **size) * 0.05
        table_VD[0] = 0
        targets_N = torch.randint(1, items + 1, (positions,), **size)
        ids_K = torch.randint(1, items + 1, (shared,), dtype=torch.int32, **size)
        batch = LossBatch(
            targets_N=targets_N, num_items=items, negatives=(Negatives("batch", ids_K),)
        )
        exact = _exact(hidden_ND, table_VD, batch)
        for precision in ("bf16", "fp32"):
            found: dict[str, Measured] = {}
            for name, loss in _implementations(call):
                row = {"N": positions, "V": items, "D": depth, "K": shared, "precision": precision}
                row["implementation"] = name
                try:
                    measured = measure(call, loss, hidden_ND, table_VD, batch, precision, exact)
                except OutOfTime:
                    raise
                except Exception as error:
                    call.row("sampled", row | {"error": f"{type(error).__name__}: {error}"[:200]})
                    continue
                found[name] = measured
                call.row("sampled", row | figures(measured))
            fused = found.pop("sampled_softmax fused", None)
            if fused is None or not found:
                continue
            point = f"N {positions}, V {items}, D {depth}, K {shared}, {precision}"
            fastest(call, f"{point}: fused is the fastest", fused, found)
            allowed = 1e-5 if precision == "fp32" else 2e-2
            right = max(fused.errors) <= allowed
            call.check(f"{point}: fused, within {allowed:.0e}", right, fused.errors)
        del hidden_ND, table_VD, exact
        if call.is_cuda:
            torch.cuda.empty_cache()


def _implementations(
    call: Call,
) -> Iterator[tuple[str, Callable[[Tensor, Tensor, LossBatch], Tensor]]]:
    ours = plugins.load("losses", "sampled_softmax")
    if "kernel" in plugins.options("losses", "sampled_softmax"):
        if call.is_cuda:
            yield "sampled_softmax fused", ours(kernel="fused")
        yield "sampled_softmax tiled", ours(kernel="tiled")
    else:
        yield "sampled_softmax tiled", ours()
    yield "plain autograd", _plain


def _plain(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> Tensor:
    """What a reader of the formula would write."""
    negatives_KD = table_VD[batch.negatives[0].ids.long()]
    hits_NK = batch.negatives[0].ids == batch.targets_N[:, None]
    score_NK = (hidden_ND @ negatives_KD.T).to(torch.promote_types(hidden_ND.dtype, torch.float32))
    score_NK = score_NK.masked_fill(hits_NK, -torch.inf)
    own_N = (hidden_ND * table_VD[batch.targets_N]).sum(1).to(score_NK.dtype)
    return (torch.logaddexp(own_N, torch.logsumexp(score_NK, 1)) - own_N).mean()


def _exact(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> tuple[Tensor, Tensor]:
    """Gradients of `_plain` in float64, in parts of the positions."""
    exact_VD = table_VD.double().requires_grad_()
    grad_ND, step = torch.empty_like(hidden_ND), 4096
    for start in range(0, len(hidden_ND), step):
        own_ND = hidden_ND[start : start + step].double().requires_grad_()
        part = LossBatch(
            targets_N=batch.targets_N[start : start + step],
            num_items=batch.num_items,
            negatives=batch.negatives,
        )
        (_plain(own_ND, exact_VD, part) * len(own_ND) / len(hidden_ND)).backward()
        assert own_ND.grad is not None
        grad_ND[start : start + step] = own_ND.grad
    assert exact_VD.grad is not None
    return grad_ND, exact_VD.grad.float()
