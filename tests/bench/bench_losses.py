"""Time and memory of the losses against dense cross-entropy and plain formulations, in one process.

Run with `python tests/bench/bench_losses.py [N,V ...] [--only full|sampled] [--repeats R]
[--threads T] [--csv FILE]`; prints Markdown. Every repeat runs all implementations in turn, medians
are taken; a second process started with `THP_MEM_ALLOC_ENABLE=1` has huge pages. Memory is the
largest sum of what the allocator handed out and not yet got back, beyond hidden states, table and
their two gradients, with the ids of the negatives counted in. Seconds of processor time stand
beside seconds on the clock, since other work on the machine moves the latter alone.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from scalelab.losses import LossBatch, Negatives
from scalelab.losses.bce import BCE
from scalelab.losses.bpr_max import BPRMax
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.losses.dense_ce import DenseCE
from scalelab.losses.gbce import GBCE
from scalelab.losses.linear_ce import LinearCE
from scalelab.losses.sampled_softmax import SampledSoftmax
from scalelab.losses.top1_max import TOP1Max

DEPTH, LENGTH = 64, 50
POINTS = ["6400,12101", "6400,100000", "25600,12101", "2560,1000000"]
Implementation = Callable[[Tensor, Tensor, LossBatch], Tensor]
Taken = tuple[float, float]


def scores(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> tuple[Tensor, Tensor]:
    """Scores of target and negatives in plain tensor code, hits left out."""
    target_N = (hidden_ND * table_VD[batch.targets_N]).sum(1)
    found = []
    for source in batch.negatives:
        ids = source.ids.long()
        if source.per == "batch":
            found.append(hidden_ND @ table_VD[ids].T)
        else:
            assert batch.sequence_N is not None
            ids = ids if source.per == "position" else ids[batch.sequence_N.long()]
            found.append((table_VD[ids] @ hidden_ND.unsqueeze(2)).squeeze(2))
        hits = ids == batch.targets_N.unsqueeze(1)
        found[-1] = found[-1].masked_fill(hits, -torch.inf)
    return target_N, torch.cat(found, 1)


def plain_bce(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> Tensor:
    """Mean of the binary terms over 1 + K and over positions."""
    target_N, negative_NK = scores(hidden_ND, table_VD, batch)
    terms_N = functional.softplus(-target_N) + functional.softplus(negative_NK).sum(1)
    return (terms_N / (1 + negative_NK.shape[1])).mean()


def plain_softmax(
    hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch, top_k: int | None = None
) -> Tensor:
    """Cross-entropy over the target and all or the top negatives."""
    target_N, negative_NK = scores(hidden_ND, table_VD, batch)
    if top_k is not None:
        negative_NK = negative_NK.topk(top_k, 1).values
    logits = torch.cat([target_N.unsqueeze(1), negative_NK], 1)
    return functional.cross_entropy(logits, torch.zeros_like(batch.targets_N))


def plain_tron(hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> Tensor:
    """TRON's loss."""
    return plain_softmax(hidden_ND, table_VD, batch, top_k=100)


def full(num_positions: int, num_items: int) -> dict[str, dict[str, Implementation]]:
    """Rivals over the whole catalog; a dense logit matrix only where it fits."""
    found: dict[str, Implementation] = {}
    if num_positions * num_items < 10**9:
        found["dense_ce"] = DenseCE()
    return {"": found | {"linear_ce": LinearCE(), "cross_entropy": CrossEntropy()}}


def sampled() -> dict[str, dict[str, Implementation]]:
    """Rivals over negatives, by the sources that they take."""
    return {
        "256 a position": {
            "bce, plain": plain_bce,
            "bce": BCE(),
            "gbce": GBCE(),
            "sampled_softmax, plain": plain_softmax,
            "sampled_softmax": SampledSoftmax(),
            "bpr_max": BPRMax(),
            "top1_max": TOP1Max(),
        },
        "8192 a batch, 127 a sequence": {
            "top 100, plain": plain_tron,
            "sampled_softmax, top_k 100": SampledSoftmax(top_k=100),
        },
    }


def negatives(kind: str, num_positions: int, num_items: int) -> tuple[Negatives, ...]:
    """The sources of one kind."""
    draw = torch.Generator().manual_seed(1)

    def ids(*shape: int) -> Tensor:
        return torch.randint(1, num_items + 1, shape, generator=draw, dtype=torch.int32)

    if not kind:
        return ()
    if kind.startswith("256"):
        return (Negatives("position", ids(num_positions, 256)),)
    own = Negatives("sequence", ids(-(-num_positions // LENGTH), 127))
    return (Negatives("batch", ids(8192)), own)


def once(
    implementation: Implementation, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch
) -> Taken:
    """(seconds on the clock, seconds of processor time) of forward and backward."""
    hidden_ND.grad = table_VD.grad = None
    clock, processor = time.perf_counter(), time.process_time()
    implementation(hidden_ND, table_VD, batch).backward()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_mib(
    implementation: Implementation, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch
) -> float:
    """MiB at the peak beyond inputs and their two gradients, with the ids of the negatives."""
    hidden_ND.grad = table_VD.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        implementation(hidden_ND, table_VD, batch).backward()
    assert found.profiler is not None
    assert found.profiler.kineto_results is not None
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    gradients = hidden_ND.nbytes + table_VD.nbytes
    return (peak - gradients + sum(source.ids.nbytes for source in batch.negatives)) / 2**20


def measure(
    point: str, kind: str, implementations: dict[str, Implementation], repeats: int
) -> list[dict]:
    """Rows of one point: every implementation, interleaved."""
    num_positions, num_items = map(int, point.split(","))
    draw = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(num_positions, DEPTH, generator=draw).requires_grad_()
    table_VD = torch.randn(num_items + 1, DEPTH, generator=draw).mul_(0.1)
    table_VD[0] = 0
    batch = LossBatch(
        targets_N=torch.randint(1, num_items + 1, (num_positions,), generator=draw),
        num_items=num_items,
        sequence_N=torch.arange(num_positions, dtype=torch.int32) // LENGTH,
        negatives=negatives(kind, num_positions, num_items),
    )
    inputs = (hidden_ND, table_VD.requires_grad_(), batch)
    times: dict[str, list[Taken]] = {name: [] for name in implementations}
    load = os.getloadavg()[0]
    for repeat in range(repeats + 1):
        for name, implementation in implementations.items():
            taken = once(implementation, *inputs)
            if repeat or repeats == 0:  # the first warms up
                times[name].append(taken)
    load = max(load, os.getloadavg()[0])
    rows, base = [], None
    for name, taken in times.items():
        clock, processor = (statistics.median(column) for column in zip(*taken, strict=True))
        if base is None or name.endswith("plain"):
            base = (clock, processor)
        rows.append(
            {
                "N": num_positions,
                "V": num_items,
                "negatives": kind,
                "loss": name,
                "s": round(clock, 3),
                "ratio": round(clock / base[0], 3),
                "processor_s": round(processor, 3),
                "processor_ratio": round(processor / base[1], 3),
                "mib": round(peak_mib(implementations[name], *inputs), 1),
                "load": round(load, 1),
            }
        )
    return rows


def main() -> None:
    """Read the command line, measure each point, print a table and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("points", nargs="*", default=POINTS)
    parser.add_argument("--only", choices=["full", "sampled"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pages = "huge" if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" else "small"
    print(f"\ntorch {torch.__version__}, {given.threads} threads, {pages} pages\n")
    rows: list[dict] = []
    for point in given.points:
        kinds = {} if given.only == "sampled" else full(*map(int, point.split(",")))
        kinds |= {} if given.only == "full" else sampled()
        for kind, implementations in kinds.items():
            found = measure(point, kind, implementations, given.repeats)
            if not rows:
                print("| " + " | ".join(found[0]) + " |")
                print("| " + " | ".join("---" for _ in found[0]) + " |")
            rows += found
            for row in found:
                print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
    if given.csv:
        fresh = not given.csv.exists()
        with given.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["pages", "threads", *rows[0]])
            if fresh:
                writer.writeheader()
            writer.writerows({"pages": pages, "threads": given.threads} | row for row in rows)


if __name__ == "__main__":
    main()
