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


_SHARED_NEGATIVES = {
    "loss.name": "sampled_softmax",
    "negatives.per": "batch",
    "negatives.num_negatives": "8192",
}
# Settings of 10 steps of 256 positions, and the GiB that the whole process may take.
STREAMED = {
    "rowwise_adagrad": ({"train.table.optimizer": "rowwise_adagrad"}, 3.6),
    "adamw": ({"train.table.optimizer": "adamw"}, 8.4),
    "lazy_adam": ({"train.table.optimizer": "lazy_adam", **_SHARED_NEGATIVES}, 8.4),
    "bf16": ({"train.table.optimizer": "rowwise_adagrad", "model.table_dtype": "bf16"}, 2.4),
    "product_quantised": (
        {"train.table.optimizer": "adam", "table.name": "product_quantised"},
        2.4,
    ),
    "hundred_million": (
        {
            "train.table.optimizer": "rowwise_adagrad",
            "model.table_dtype": "bf16",
            "data.num_items": "100000000",
            "model.hidden_dim": "16",
            **_SHARED_NEGATIVES,
        },
        6.0,
    ),
}


def streamed(name: str) -> dict[str, object]:
    """10^7 items x 64, 10 steps of 256 positions, 200 users evaluated, and the prediction."""
    changes, limit = STREAMED[name]
    settings = {
        "data.num_items": "10000000",
        "data.num_interactions": "1000000",
        "data.num_users": "100000",
        "data.max_eval_users": "200",
        "batch.size": "256",
        "loss.name": "cross_entropy",
        "loss.train_on": "last",
        "model.hidden_dim": "64",
        "train.max_steps": "10",
        "train.table.update": "streamed",
        "measure.probes": '["step_timer", "host_rss"]',
        "device.name": "cpu",
        **changes,
    }
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    (plan,) = json.loads(output("plan", "sasrec-synthetic", *sets, "--json"))
    start = time.perf_counter()
    facts = json.loads(output("profile", "sasrec-synthetic", *sets, "--json", "--quiet"))
    return {
        "name": name,
        "limit_gib": limit,
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / GIB,
        "predicted_rss_gib": plan["host_rss_bytes"] / GIB,
        "requested": {
            stage: [plan[key]["requested"]["total"], facts["memory"][stage]["requested"]["total"]]
            for stage, key in (("train", "memory"), ("eval", "evaluation"))
        },
        "time": facts["time"],
        "outcome": facts["outcome"],
        "wall_s": time.perf_counter() - start,
    }


def output(*words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "scalelab", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


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
        job, _, name = sys.argv[1].partition(":")
        result = streamed(name) if job == "streamed" else jobs[job](Path(folder))
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
