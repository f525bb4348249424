"""Time cross-entropy by every implementation there is, and compare its gradients with float64."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from call import MIB, Call, OutOfTime
from torch import Tensor, nn

from scalelab.core import plugins
from scalelab.losses import LossBatch
from sections.oracle import relative

__all__ = ["Measured", "fastest", "figures", "measure", "run", "scores_in_float64"]

Loss = Callable[[Tensor, Tensor, LossBatch], Tensor]
# Positions, items, width; in order of worth.
POINTS = [
    (1024, 1_000_000, 64),
    (1024, 12_101, 64),
    (1024, 100_000, 64),
    (4096, 100_000, 64),
    (4096, 1_000_000, 64),
    (1024, 100_000, 128),
    (1024, 1_000_000, 128),
    (1024, 10_000_000, 64),
    (4096, 12_101, 64),
    (4096, 100_000, 128),
    (4096, 1_000_000, 128),
    (4096, 10_000_000, 64),
]
# Beyond that many items our own two alone are measured.
MOST_ITEMS = 1_000_000
# An implementation whose next call is expected to take longer is left out at that point. Liger cuts
# the positions into more parts the more items there are: it is timed at few of them first.
SLOWEST_S, SLOWEST_LIGER_S, FEW_ITEMS = 1.5, 0.1, 20_000
# Half a chunk of logits in float64.
CHUNK = 3e8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One implementation at one point."""

    seconds: float
    gpu_seconds: float
    beyond_mib: float
    errors: tuple[float, float]


def run(call: Call) -> None:
    """As in training: fp32 weights, for bf16 under autocast; fp32 gradients of both operands."""
    losses = dict(_implementations(call))
    inexact = {name: loss for name, loss in losses.items() if "inexact" in name}
    exact = {name: loss for name, loss in losses.items() if name not in inexact}
    known_s: dict[tuple[str, str], float] = {}
    points = POINTS if call.is_cuda else [(64, 500, 16)]
    for place, point in enumerate(points):
        _point(call, point, exact | (inexact if place == 0 else {}), known_s)
    for point in points[1:]:
        if inexact and point[1] <= MOST_ITEMS:
            _point(call, point, inexact, known_s)


def _point(
    call: Call,
    point: tuple[int, int, int],
    losses: dict[str, Loss],
    known_s: dict[tuple[str, str], float],
) -> None:
    """Every implementation at one point, in both precisions. `known_s`: seconds by unit of work."""
    call.need(5)
    positions, items, depth = point
    draw = torch.Generator(call.device).manual_seed(0)
    size = {"generator": draw, "device": call.device}
    hidden_ND = torch.randn(positions, depth, **size)
    table_VD = torch.randn(items + 1, depth, **size) * 0.05
    table_VD[0] = 0
    targets_N = torch.randint(1, items + 1, (positions,), **size)
    batch = LossBatch(targets_N=targets_N, num_items=items)
    exact = scores_in_float64(hidden_ND, table_VD, targets_N)
    work = positions * items * depth
    for precision in ("bf16", "fp32"):
        found: dict[str, Measured] = {}
        for name, loss in losses.items():
            if items > MOST_ITEMS and not name.startswith("cross_entropy"):
                continue
            if name.startswith("cut") and precision == "fp32":
                continue  # a note says so
            row: dict[str, Any] = {"N": positions, "V": items, "D": depth, "precision": precision}
            row["implementation"] = name
            rate_s = known_s.get((name, precision))
            why = _left_out(call, name, positions, items, rate_s and rate_s * work)
            if why:
                call.row("losses", row | {"left_out": why})
                continue
            try:
                measured = measure(call, loss, hidden_ND, table_VD, batch, precision, exact)
            except OutOfTime:
                raise
            except Exception as error:
                call.row("losses", row | {"error": f"{type(error).__name__}: {error}"[:200]})
                continue
            found[name] = measured
            known_s[name, precision] = measured.seconds / work
            call.row("losses", row | figures(measured))
        _judge(call, found, f"N {positions}, V {items}, D {depth}, {precision}", precision)


def _left_out(
    call: Call, name: str, positions: int, items: int, expected_s: float | None
) -> str | None:
    """Why an implementation is not measured at a point, or None."""
    if name == "dense_ce" and 3 * 4 * positions * items > 0.7 * _free(call):
        return "does not fit"
    if name == "liger" and items > FEW_ITEMS and expected_s is None:
        return f"it is timed at {FEW_ITEMS} items or fewer first"
    slowest_s = SLOWEST_LIGER_S if name == "liger" else SLOWEST_S
    if expected_s is not None and expected_s > slowest_s:
        return f"about {1e3 * expected_s:.0f} ms a call, by its time at another point"
    return None


def figures(measured: Measured) -> dict[str, Any]:
    """The columns of one implementation at one point."""
    return {
        "ms": round(measured.seconds * 1e3, 3),
        "gpu_ms": round(measured.gpu_seconds * 1e3, 3),
        "peak_mib": round(measured.beyond_mib, 1),
        "dE, dC": [f"{error:.1e}" for error in measured.errors],
    }


def fastest(call: Call, what: str, fused: Measured, others: dict[str, Measured]) -> None:
    """Check that `fused` is faster than all others: called one at a time, and on the GPU alone."""
    for way, key in (("as called", "seconds"), ("on the GPU", "gpu_seconds")):
        times = {name: getattr(measured, key) for name, measured in others.items()}
        best = min(times, key=lambda name: times[name])
        own = getattr(fused, key)
        ratio = times[best] / own if own else 0.0
        call.check(f"{what}, {way}", ratio > 1, f"{ratio:.2f}x {best}")
    silent = [name for name, each in others.items() if each.gpu_seconds <= 0]
    silent += [] if fused.gpu_seconds > 0 else ["fused"]
    if silent:
        call.check(f"{what}: the profiler sees its kernels", False, silent)


def _judge(call: Call, found: dict[str, Measured], point: str, precision: str) -> None:
    fused, tiled = found.get("cross_entropy fused"), found.get("cross_entropy tiled")
    if fused is None or tiled is None or not call.is_cuda:
        return
    exact = {n: m for n, m in found.items() if n != "cross_entropy fused" and "inexact" not in n}
    fastest(call, f"{point}: fused is the fastest exact one", fused, exact)
    if "V 1000000," in point and precision == "bf16":
        ratio = tiled.seconds / fused.seconds
        on_gpu = tiled.gpu_seconds / max(fused.gpu_seconds, 1e-9)
        what = f"{point}: 5 times the tiled code"
        call.check(f"{what}, as called", ratio >= 5, f"{ratio:.1f}x")
        call.check(f"{what}, on the GPU", on_gpu >= 5, f"{on_gpu:.1f}x")
    call.check(
        f"{point}: in no more memory than the tiled code",
        fused.beyond_mib <= tiled.beyond_mib,
        f"{fused.beyond_mib:.1f} and {tiled.beyond_mib:.1f} MiB",
    )
    allowed = 1e-5 if precision == "fp32" else 2e-2
    call.check(f"{point}: fused, within {allowed:.0e}", max(fused.errors) <= allowed, fused.errors)


def _implementations(call: Call) -> Iterator[tuple[str, Loss]]:
    ours = plugins.load("losses", "cross_entropy")
    if "kernel" in plugins.options("losses", "cross_entropy"):
        if call.is_cuda:
            yield "cross_entropy fused", ours(kernel="fused")
        yield "cross_entropy tiled", ours(kernel="tiled")
    else:
        call.note(kernel="cross_entropy has no option `kernel` yet")
        yield "cross_entropy tiled", ours()
    yield "dense_ce", plugins.load("losses", "dense_ce")()
    if hasattr(nn.functional, "linear_cross_entropy"):
        yield "torch linear_cross_entropy", plugins.load("losses", "linear_ce")()
    if not call.is_cuda:
        return
    # The libraries themselves: what our wrappers add must not be counted to them.
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        fused = LigerFusedLinearCrossEntropyLoss()
        yield "liger", _external(lambda table, hidden, targets: fused(table, hidden, targets))
    except ImportError as error:
        call.note(liger=str(error))
    try:
        from cut_cross_entropy import linear_cross_entropy as cut

        call.note(cut_cross_entropy="its backward pass takes bf16 and fp16 alone: no rows in fp32")
        for name, options in {"(inexact)": {}, "unfiltered": {"filter_eps": None}}.items():
            whole = partial(cut, impl="cce", **options)
            yield (
                f"cut-cross-entropy {name}",
                _external(lambda table, hidden, targets, cut=whole: cut(hidden, table, targets)),
            )
    except ImportError as error:
        call.note(cut_cross_entropy=str(error))


def _external(library: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Loss:
    """The library on items, hidden states and targets in the type that autocast asks for."""

    def loss(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> Tensor:
        kind = hidden_ND.device.type
        dtype = torch.bfloat16 if torch.is_autocast_enabled(kind) else hidden_ND.dtype
        with torch.autocast(kind, enabled=False):
            return library(table_VD[1:].to(dtype), hidden_ND.to(dtype), batch.targets_N - 1)

    return loss


def measure(
    call: Call,
    loss: Loss,
    hidden_ND: Tensor,
    table_VD: Tensor,
    batch: LossBatch,
    precision: str,
    exact: tuple[Tensor, Tensor],
) -> Measured:
    """Median seconds of forward and backward as called and on the GPU, MiB beyond the two
    gradients, errors of both.
    """
    call.need(3)
    if call.is_cuda:
        gc.collect()
        torch.cuda.empty_cache()

    def autocast() -> AbstractContextManager[Any]:
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(hidden_ND.device.type, dtype=torch.bfloat16)

    def once() -> tuple[Tensor | None, Tensor | None]:
        own_ND, own_VD = hidden_ND.detach().requires_grad_(), table_VD.detach().requires_grad_()
        with autocast():
            value = loss(own_ND, own_VD, batch)
        value.backward()
        return own_ND.grad, own_VD.grad

    got = once()
    errors = (relative(got[0], exact[0]), relative(got[1], exact[1]))
    del got
    beyond = 0.0
    if call.is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        floor = torch.cuda.memory_allocated()
        once()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - floor
        beyond = (peak - hidden_ND.nbytes - table_VD.nbytes) / MIB
    slow = call.timed(once, repeats=1, warm=0)
    repeats = 2 if slow > 0.2 else 10
    return Measured(
        seconds=call.timed(once, repeats=repeats, warm=1),
        gpu_seconds=call.gpu_seconds(once) if call.is_cuda else 0.0,
        beyond_mib=beyond,
        errors=errors,
    )


def scores_in_float64(
    hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor
) -> tuple[Tensor, Tensor]:
    """The exact gradients, from chunks of float64 logits; kept in fp32 to spare memory."""
    num_positions = len(hidden_ND)
    exact_VD = table_VD.double()
    grad_ND, grad_VD = torch.empty_like(hidden_ND), torch.zeros_like(exact_VD)
    step = max(1, int(CHUNK // len(table_VD)))
    for start in range(0, num_positions, step):
        part_TD = hidden_ND[start : start + step].double()
        share_TV = part_TD @ exact_VD.T
        share_TV[:, 0] = -torch.inf
        share_TV.sub_(torch.logsumexp(share_TV, 1, keepdim=True)).exp_()
        own_T = targets_N[start : start + step, None]
        share_TV.scatter_add_(1, own_T, torch.full_like(own_T, -1, dtype=torch.float64))
        grad_ND[start : start + step] = (share_TV @ exact_VD) / num_positions
        grad_VD.addmm_(share_TV.T, part_TD, alpha=1 / num_positions)
        del share_TV
    return grad_ND, grad_VD.float()


def _free(call: Call) -> float:
    if not call.is_cuda:
        return 4e9
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info()[0])
