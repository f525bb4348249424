"""A seed in, records as a real study would leave them out; no torch, no training.

Quality, memory and time follow simple laws (the dense loss keeps its logits, a sampled one its
negatives), so that fronts and breakdowns look like those of real runs.
"""

import hashlib
import json
import math
import random
from dataclasses import replace
from datetime import datetime, timedelta

from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.records import (
    Environment,
    Memory,
    Metric,
    Outcome,
    Record,
    Run,
    Sample,
    TimelineEvent,
)

LOSSES = ("dense_ce", "cross_entropy", "bce", "gbce", "sampled_softmax", "rece")
STUDY_TOML = """base = "sasrec-synthetic"
repeats = 1
charts = ["pareto", "breakdown"]

[axes]
"batch.size" = [64, 128, 256]
"loss.name" = ["dense_ce", "bce", "sampled_softmax"] # <script>alert("no")</script>
"""
_START = datetime(2026, 1, 2, 3, 4, 5)
_RECE = {"rounds": 1, "n_buckets": 24, "n_chunks": 24, "n_extra_chunks": 1}
_CEILING = {
    "dense_ce": 0.121,
    "cross_entropy": 0.121,
    "bce": 0.083,
    "gbce": 0.106,
    "sampled_softmax": 0.112,
    "rece": 0.118,
}


def record(
    *,
    index: int = 0,
    loss: str = "bce",
    batch_size: int = 128,
    num_negatives: int = 256,
    num_items: int = 100_000,
    max_len: int = 50,
    hidden_dim: int = 64,
    seed: int = 0,
    outcome: Outcome = Outcome.DONE,
    cuda: bool = False,
    dataset: str = "synthetic",
    study_id: str | None = "study-1",
    attempt: int = 1,
    num_events: int = 0,
    num_epochs: int = 8,
) -> Record:
    """One run, complete for its outcome, whose figures depend on nothing but the arguments."""
    rng = random.Random(f"{loss}{batch_size}{num_negatives}{num_items}{seed}")
    full = loss in ("dense_ce", "cross_entropy", "rece")
    num_negatives = 0 if full else num_negatives
    spec = {
        "data": {"reader": dataset, "path": None, "num_items": num_items},
        "batch": {"packer": "first_fit", "size": batch_size, "max_len": max_len},
        "negatives": [] if full else [{"name": "uniform", "num_negatives": num_negatives}],
        "model": {"name": "sasrec", "hidden_dim": hidden_dim},
        "loss": {"name": loss, "train_on": "all"},
        "train": {"epochs": 30, "learning_rate": 1e-3, "seed": seed},
        "device": {"name": "cuda" if cuda else "cpu", "threads": 2},
    }
    text = json.dumps(spec, sort_keys=True)
    done = outcome is Outcome.DONE
    kept = outcome in (Outcome.DONE, Outcome.TIMEOUT, Outcome.INTERRUPTED)
    parts = _components(loss, batch_size, num_negatives, num_items, max_len, hidden_dim, rng)
    quality = _quality(loss, batch_size, num_negatives, num_items, rng)
    train_s = (4 + 1e-9 * parts["loss_workspace"] * 40 + 900 / batch_size) * rng.uniform(0.95, 1.05)
    run = Run(
        run_id=f"run-{index:06d}",
        study_id=study_id,
        fingerprint=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        attempt=attempt,
        outcome=outcome,
        phase=None if done else "loss",
        error=None if done else _ERRORS.get(outcome, "it stopped <b>here</b>"),
        dataset=dataset,
        data_fingerprint=f"{dataset}-{num_items}",
        num_users=20_000,
        num_items=num_items,
        num_interactions=400_000,
        protocol="leave-one-out, seen excluded",
        model="sasrec",
        loss=loss,
        batch_size=batch_size,
        max_len=max_len,
        hidden_dim=hidden_dim,
        num_negatives=num_negatives,
        seed=seed,
        spec=text,
        started_at=_START + timedelta(minutes=index),
        wall_s=train_s + 2.5 if kept else 3.2,
        train_s=train_s if kept else None,
        eval_s=1.4 if kept else None,
        best_epoch=num_epochs - 2 if done else None,
        epochs=num_epochs if kept else None,
        tokens_per_s=2e6 / train_s if kept else None,
        wait_fraction=0.002 if kept else None,
        resolved=json.dumps({"loss": _RECE}) if loss == "rece" else None,
        origin=None,
        stopped=None,
        account_error=None,
        tied_targets=None,
        repeated_targets=None,
        results_version=RESULTS_VERSION,
    )
    return Record(
        run=run,
        metrics=_metrics(quality, num_epochs, done, rng) if kept else (),
        memory=_memory(parts, cuda, measured=kept or outcome is Outcome.OOM, rng=rng),
        timeline=_timeline(parts, num_events),
        samples=(
            Sample(at_s=0.5, probe="host_rss", name="rss", value=1.5e9, unit="byte"),
            Sample(at_s=1.0, probe="nvml", name="power", value=None, unit="watt"),
        ),
        environment=Environment(
            host="fake",
            device="NVIDIA GeForce RTX 3090" if cuda else "AMD EPYC 7763",
            device_bytes=24 * 2**30,
            driver="580.1" if cuda else None,
            torch="2.13.0",
            python="3.11.9",
            scalelab="0.1.0",
            commit="0123abc",
            threads=2,
        ),
    )


def study(*, cuda: bool = False) -> list[Record]:
    """Some seventy runs of one study: a grid, more seeds for the best, and every sad outcome."""
    cells = [
        {"loss": loss, "batch_size": size, "num_negatives": negatives}
        for loss in LOSSES
        for size in (64, 128, 256, 512)
        for negatives in ((16, 256) if loss in ("bce", "gbce", "sampled_softmax") else (0,))
    ]
    cells += [
        {"loss": loss, "batch_size": 128, "num_negatives": 256, "num_items": items}
        for loss in LOSSES
        for items in (10_000, 1_000_000)
    ]
    cells += [
        {"loss": loss, "batch_size": 256, "num_negatives": 256, "seed": seed}
        for loss in LOSSES
        for seed in (1, 2)
    ]
    records = [record(index=i, cuda=cuda, **cell) for i, cell in enumerate(cells)]
    records[3] = replace(records[3], timeline=_timeline(_parts_of(records[3]), 400))
    sad = (
        Outcome.OOM,
        Outcome.TIMEOUT,
        Outcome.DIVERGED,
        Outcome.FAILED,
        Outcome.INTERRUPTED,
        Outcome.PRUNED,
        Outcome.SKIPPED,
    )
    records += [
        record(index=900 + i, outcome=o, loss="dense_ce", batch_size=1024, seed=i, cuda=cuda)
        for i, o in enumerate(sad)
    ]
    return records


_ERRORS = {
    Outcome.OOM: "out of memory: 38.1 GiB asked for the logits",
    Outcome.SKIPPED: "predicted 39.2 GiB, limit 24 GiB",
    Outcome.TIMEOUT: "stopped after 600 s",
    Outcome.DIVERGED: "the loss became NaN in epoch 2",
}


def _quality(loss: str, size: int, negatives: int, items: int, rng: random.Random) -> float:
    more = 1 - 0.35 / (1 + math.log2(1 + negatives) / 3) if negatives else 1.0
    small = 1 - 0.02 * abs(math.log2(size / 128))
    catalog = (100_000 / items) ** 0.08
    return _CEILING.get(loss, 0.1) * more * small * catalog * rng.uniform(0.985, 1.015)


def _components(
    loss: str, size: int, negatives: int, items: int, length: int, dim: int, rng: random.Random
) -> dict[str, int]:
    positions = size * 9 + rng.randrange(size)
    table = (items + 1) * dim * 4
    encoder = 12 * dim * dim * 4 * 2 + length * dim * 4
    kept = {
        "dense_ce": positions * items * 12,
        "cross_entropy": positions * 4096 * 4 * 2,
        "rece": positions * max(int(items**0.5) * 8, 64) * 8,
    }
    return {
        "item_table": table,
        "encoder_parameters": encoder,
        "item_table_gradient": table,
        "encoder_gradients": encoder,
        "optimizer_state": 2 * (table + encoder),
        "optimizer_workspace": 4096,
        "batch": positions * (8 + 4 * negatives),
        "activations": positions * dim * 4 * 24,
        "loss_workspace": kept.get(loss, positions * (negatives + 1) * 4 * 5),
        "other": 1234,
    }


def _memory(
    parts: dict[str, int], cuda: bool, *, measured: bool, rng: random.Random
) -> tuple[Memory, ...]:
    total = sum(parts.values())
    facts = []
    for source in ("measured", "predicted") if measured else ("predicted",):
        factor = 1.0 if source == "measured" else rng.uniform(0.997, 1.003)
        own = {name: round(count * factor) for name, count in parts.items()}
        facts += [("train", "requested", name, count, source) for name, count in own.items()]
        facts.append(("train", "requested", "total", sum(own.values()), source))
        if cuda or source == "predicted":
            facts.append(("train", "allocated", "total", round(total * 1.01 * factor), source))
            facts.append(("train", "reserved", "total", round(total * 1.12 * factor), source))
    if measured:
        facts.append(("eval", "requested", "total", total // 3, "measured"))
        facts.append(("process", "host_rss", "total", total + 600 * 2**20, "measured"))
    if measured and cuda:
        facts.append(("process", "device_used", "total", round(total * 1.12) + 400 * 2**20, source))
    rows = [_fact(*fact, None) for fact in facts]
    if measured and not cuda:
        rows.append(_fact("train", "allocated", "total", None, "measured", "no CUDA device"))
    return tuple(rows)


def _fact(
    stage: str, kind: str, component: str, count: int | None, source: str, reason: str | None
) -> Memory:
    return Memory(
        stage=stage, kind=kind, component=component, bytes=count, reason=reason, source=source
    )


def _metrics(quality: float, num_epochs: int, done: bool, rng: random.Random) -> tuple[Metric, ...]:
    facts = []
    for epoch in range(1, num_epochs + 1):
        reached = quality * (1 - math.exp(-epoch / 2)) / (1 - math.exp(-(num_epochs - 2) / 2))
        reached *= 1.0 if epoch <= num_epochs - 2 else 0.98
        for k in (1, 5, 10, 20):
            for name, factor in (("ndcg", 1.0), ("hr", 1.8), ("mrr", 0.85)):
                scale = factor * (k / 10) ** 0.3
                facts.append(("valid", epoch, name, k, reached * scale))
                if done and epoch == num_epochs - 2:
                    facts.append(("test", epoch, name, k, reached * scale * 0.93))
                    # Training targets before the held-out ones, which rank better.
                    for back in (1, 2):
                        facts.append((f"train-{back}", epoch, name, k, reached * scale * 1.2))
                    # Hidden items, step by step.
                    for ahead in (1, 2):
                        value = reached * scale * (1 - 0.2 * ahead)
                        facts.append((f"ahead-{ahead}", epoch, name, k, value))
    if done:
        facts.append(("test", num_epochs - 2, "oracle_ndcg", 10, 0.142))
        facts.append(("test", num_epochs - 2, "popularity", 10, 0.95 - quality))
        facts.append(("test", num_epochs - 2, "target_popularity", None, 0.62))
        facts.append(("test", num_epochs - 2, "coverage", None, rng.uniform(0.1, 0.6)))
    return tuple(Metric(split=s, epoch=e, name=n, k=k, value=v) for s, e, n, k, v in facts)


def _timeline(parts: dict[str, int], num_events: int) -> tuple[TimelineEvent, ...]:
    """A step: the state is there, activations and loss grow and go, gradients come."""
    if not num_events:
        return ()
    quarter = max(num_events // 8, 1)
    state = ("item_table", "encoder_parameters", "optimizer_state", "batch")
    facts = [("data", name, parts[name]) for name in state]
    for phase, name, sign in (
        ("forward", "activations", 1),
        ("loss", "loss_workspace", 1),
        ("backward", "loss_workspace", -1),
        ("backward", "item_table_gradient", 1),
        ("backward", "activations", -1),
        ("backward", "encoder_gradients", 1),
        ("optimizer", "optimizer_workspace", 1),
        ("optimizer", "optimizer_workspace", -1),
    ):
        facts += [(phase, name, sign * (parts[name] // quarter))] * quarter
    return tuple(
        TimelineEvent(event=i, phase=phase, component=name, bytes=count)
        for i, (phase, name, count) in enumerate(facts)
    )


def _parts_of(record: Record) -> dict[str, int]:
    return {
        m.component: m.bytes or 0
        for m in record.memory
        if (m.kind, m.source, m.stage) == ("requested", "measured", "train")
    }
