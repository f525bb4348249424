"""Ten million items and fifty million rows: peak resident memory of the commands, as the kernel
counts it.

Run with `python tests/bench/bench_scale.py items|rows`, or `streamed:NAME` with a NAME of STREAMED;
prints a JSON document. Needs 12 GiB of free memory (items) or 2 GB of disk (rows).
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

GIB = 2**30


def scalelab(*words: str) -> dict[str, float]:
    """Seconds and peak RSS of one command; the peak is that of the largest child so far."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "scalelab", *words], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"wall_s": time.perf_counter() - start, "peak_rss_gib": peak / GIB}


def items(folder: Path) -> dict[str, object]:
    """10^7 items, 10^6 interactions; 200 steps of BCE with one negative, 2,000 users evaluated."""
    data = str(folder / "large")
    sizes = ["num_items=10000000", "num_interactions=1000000", "num_users=100000"]
    made = scalelab("data", "synthesize", data, *(f"--set={size}" for size in sizes))
    changes = {
        "data.reader": "table",
        "data.path": data,
        "data.max_eval_users": "2000",
        "loss.name": "bce",
        "negatives.num_negatives": "1",
        "model.hidden_dim": "64",
        "train.max_steps": "200",
    }
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    trained = scalelab("profile", "sasrec-synthetic", *sets, "--json", "--out", str(folder / "out"))
    return {"synthesize": made, "train_200_steps": trained, "limit_gib": 12}


# Settings of the item table's update, and the GiB that the whole process may take.
STREAMED = {
    "rowwise_adagrad": ({"loss.name": "cross_entropy"}, 3.6),
    "adamw": ({"loss.name": "cross_entropy"}, 8.4),
    "lazy_adam": (
        {
            "loss.name": "sampled_softmax",
            "negatives.per": "batch",
            "negatives.num_negatives": "8192",
        },
        8.4,
    ),
}


def streamed(folder: Path, rule: str) -> dict[str, object]:
    """10^7 items x 64, 10 steps of 256 positions, 200 users evaluated, and the prediction."""
    loss, limit = STREAMED[rule]
    changes = {
        "data.num_items": "10000000",
        "data.num_interactions": "1000000",
        "data.num_users": "100000",
        "data.max_eval_users": "200",
        "batch.size": "256",
        "loss.train_on": "last",
        "model.hidden_dim": "64",
        "train.max_steps": "10",
        "train.table.update": "streamed",
        "train.table.optimizer": rule,
        "measure.probes": '["step_timer", "host_rss"]',
        "device.name": "cpu",
    }
    changes |= loss
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    out = ("--json", "--out", str(folder / "out"))
    return {"profile": scalelab("profile", "sasrec-synthetic", *sets, *out), "limit_gib": limit}


def rows(folder: Path) -> dict[str, object]:
    """`data convert` of a parquet of 50 million rows."""
    source = folder / "rows.parquet"
    duckdb.sql(
        f"""COPY (SELECT (i // 25)::INT AS "user", (hash(i) % 1000003)::INT AS item, i AS ts
        FROM range(50_000_000) t(i)) TO '{source}'"""
    )
    return {
        "convert": scalelab("data", "convert", str(source), str(folder / "rows")),
        "limit_gib": 4,
    }


def main() -> None:
    jobs = {"items": items, "rows": rows}
    with tempfile.TemporaryDirectory() as folder:
        job, _, rule = sys.argv[1].partition(":")
        result = streamed(Path(folder), rule) if job == "streamed" else jobs[job](Path(folder))
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
