"""Time how large files are read, beside an older checkout of this package.

Run with `python tests/bench/bench_files.py OLD_CHECKOUT [ROWS]`; prints a JSON document. A parquet
and a csv file of ROWS interactions (ten million by default) are loaded by turns in processes of
their own, old and new, so that both meet the same load of the machine. A ratio is the median of the
new seconds over that of the old; `processor_s` counts what other work on the machine does not
move. Allowed are 1.3 for parquet, 2 for csv, and less than 2 GiB.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parents[2]
ALLOWED = {"parquet": 1.3, "csv": 2.0}
ROUNDS = 3
# The bytes that a process held at most, without those of the imports before the file is read.
CHILD = """
import json, resource, sys, time
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import load
began, began_processor = time.perf_counter(), time.process_time()
found = load(DataSpec(path=sys.argv[1]))
assert found.num_interactions
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
processor = time.process_time() - began_processor
print(json.dumps({"s": seconds, "processor_s": processor, "peak_bytes": peak}))
"""
DESCRIBE = """
import cProfile, json, pstats, sys, time
import scalelab
profiler = cProfile.Profile()
began = time.perf_counter()
profiler.runcall(scalelab.data.describe, sys.argv[1])
seconds = time.perf_counter() - began
stats = pstats.Stats(profiler).stats
unique = sum(cost[3] for (_, _, name), cost in stats.items() if name == "unique")
print(json.dumps({"s": seconds, "s_in_unique": unique}))
"""


def main() -> None:
    old = Path(sys.argv[1]).resolve()
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ALLOWED:
            found[name] = measure(old, write(Path(folder) / f"rows.{name}", rows))
            found[name]["allowed"] = ALLOWED[name]
        described = child(HERE, DESCRIBE, Path(folder) / "rows.parquet")
    facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}
    print(json.dumps({**facts, "read": found, "describe": described}, indent=1))


def write(path: Path, rows: int) -> Path:
    """`rows` interactions in order of time, items by popularity, as a log has them."""
    select = (
        f"SELECT hash(n) % {max(rows // 50, 1)} AS user_id, "
        "(power(hash(n + 1) % 1000000 / 1e6, 3) * 100000)::BIGINT AS item_id, "
        f"1500000000 + n AS timestamp FROM range({rows}) r(n)"
    )
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1GB'")
        connection.execute(f"COPY ({select}) TO '{path}'")
    return path


def measure(old: Path, path: Path) -> dict[str, object]:
    by_code: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
    for _ in range(ROUNDS):
        for name, checkout in (("old", old), ("new", HERE)):
            by_code[name].append(child(checkout, CHILD, path))
    found: dict[str, object] = {
        "peak_bytes": {n: max(run["peak_bytes"] for run in runs) for n, runs in by_code.items()}
    }
    for name in ("s", "processor_s"):
        medians = {n: statistics.median(run[name] for run in runs) for n, runs in by_code.items()}
        found |= {name: medians, f"ratio_of_{name}": medians["new"] / medians["old"]}
    return found


def child(checkout: Path, code: str, path: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment,
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
    )
    # Some versions of DuckDB draw a bar of progress before it.
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
