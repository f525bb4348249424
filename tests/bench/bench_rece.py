"""Time and memory of `rece` and `sce` against exact cross-entropy and plain code, in one process.

Run with `python tests/bench/bench_rece.py [N,V ...] [--repeats R] [--threads T]`; prints Markdown
rows. Every repeat runs all implementations in turn, medians are taken; a second process started
with `THP_MEM_ALLOC_ENABLE=1` has huge pages. Memory is the largest sum of what the allocator handed
out and not yet got back, beyond hidden states, table and their two gradients. Seconds of processor
time stand beside seconds on the clock, since other work on the machine moves the latter alone.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from scalelab.losses import LossBatch
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.losses.dense_ce import DenseCE
from scalelab.losses.rece import RECE
from scalelab.losses.sce import SCE

DEPTH = 64
POINTS = ["6400,12101", "6400,100000", "25600,12101", "2560,1000000"]
Implementation = Callable[[Tensor, Tensor, LossBatch], Tensor | None]


def plain_sce(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> Tensor:
    """SCE in plain tensor code, autograd and all, as its repository goes about it."""
    num_positions = hidden_ND.shape[0]
    count = round(2 * num_positions**0.5)
    with torch.no_grad():
        centres_BD = torch.randn(count, hidden_ND.shape[1], generator=batch.generator)
        top_x = (centres_BD @ hidden_ND.T).topk(count, dim=1).indices
        scores_BV = centres_BD @ table_VD.T
        scores_BV[:, batch.pad_id] = -torch.inf
        top_y = scores_BV.topk(512, dim=1).indices
    hidden_BXD, rows_BYD = hidden_ND[top_x], table_VD[top_y]
    targets_BX = batch.targets_N[top_x]
    logits_BXY = hidden_BXD @ rows_BYD.transpose(1, 2)
    logits_BXY = logits_BXY.masked_fill(top_y[:, None] == targets_BX[:, :, None], -torch.inf)
    target_BX1 = (hidden_BXD * table_VD[targets_BX]).sum(2, keepdim=True)
    loss_BX = torch.cat([logits_BXY, target_BX1], 2).logsumexp(2) - target_BX1.squeeze(2)
    worst_N = hidden_ND.new_zeros(num_positions)
    worst_N = worst_N.scatter_reduce(
        0, top_x.view(-1), loss_BX.view(-1), "amax", include_self=False
    )
    return worst_N.sum() / (worst_N != 0).sum()


def bare_product(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> None:
    """All logits, a tile of 128 positions at a time, and nothing done with them."""
    with torch.no_grad():
        tile = torch.empty(128, table_VD.shape[0])
        for start in range(0, hidden_ND.shape[0], 128):
            rows = hidden_ND[start : start + 128]
            torch.mm(rows, table_VD.T, out=tile[: rows.shape[0]])


def implementations(num_positions: int, num_items: int) -> dict[str, Implementation]:
    """What is compared at one point; a dense logit matrix only where it fits."""
    found: dict[str, Implementation] = {
        f"rece ({extra},{rounds})": RECE(n_extra_chunks=extra, rounds=rounds)
        for extra, rounds in ((1, 1), (1, 4), (4, 1), (4, 4))
    }
    found["cross_entropy"] = CrossEntropy()
    found["rece (1,1) paper"] = RECE(n_buckets="paper")
    found["sce"] = SCE()
    found["sce plain"] = plain_sce
    if num_positions * num_items < 10**9:
        found["dense_ce"] = DenseCE()
    found["bare product"] = bare_product
    return found


def once(
    implementation: Implementation, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch
) -> tuple[float, ...]:
    """(seconds on the clock, seconds of processor time) of forward and backward."""
    hidden_ND.grad = table_VD.grad = None
    clock, processor = time.perf_counter(), time.process_time()
    loss = implementation(hidden_ND, table_VD, batch)
    if loss is not None:
        loss.backward()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_mib(
    implementation: Implementation, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch
) -> float:
    """MiB at the peak beyond inputs and their two gradients."""
    hidden_ND.grad = table_VD.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        loss = implementation(hidden_ND, table_VD, batch)
        if loss is not None:
            loss.backward()
    assert found.profiler is not None
    assert found.profiler.kineto_results is not None
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    gradients = 0 if loss is None else 4 * (hidden_ND.numel() + table_VD.numel())
    return (peak - gradients) / 2**20


def measure(num_positions: int, num_items: int, repeats: int) -> None:
    """One point: every implementation, interleaved."""
    generator = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(num_positions, DEPTH, generator=generator).requires_grad_()
    table_VD = torch.randn(num_items + 1, DEPTH, generator=generator).mul_(0.1)
    table_VD[0] = 0
    targets_N = torch.randint(1, num_items + 1, (num_positions,), generator=generator)
    batch = LossBatch(targets_N=targets_N, num_items=num_items, generator=generator)
    inputs = (hidden_ND, table_VD.requires_grad_(), batch)
    load = os.getloadavg()[0]
    found = implementations(num_positions, num_items)
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in found}
    for repeat in range(repeats + 1):
        for name, implementation in found.items():
            taken = once(implementation, *inputs)
            if repeat:  # the first warms up
                times[name].append(taken)
    median = {n: [statistics.median(c) for c in zip(*t, strict=True)] for n, t in times.items()}
    base = "dense_ce" if "dense_ce" in median else "bare product"
    print(f"\nN = {num_positions}, V = {num_items}; load {load:.1f} to {os.getloadavg()[0]:.1f}\n")
    print(f"| loss | s | of {base} | processor s | of {base} | MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (clock, processor) in median.items():
        ratios = [x / y for x, y in zip((clock, processor), median[base], strict=True)]
        mib = peak_mib(found[name], *inputs)
        print(
            f"| {name} | {clock:.3f} | {ratios[0]:.3f} | {processor:.3f} | {ratios[1]:.3f} "
            f"| {mib:.0f} |",
            flush=True,
        )


def main() -> None:
    """Read the command line and measure each point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("points", nargs="*", default=POINTS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pages = "huge pages" if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" else "small pages"
    print(f"torch {torch.__version__}, {given.threads} threads, {pages}, {given.repeats} repeats")
    for point in given.points:
        measure(*map(int, point.split(",")), repeats=given.repeats)


if __name__ == "__main__":
    main()
