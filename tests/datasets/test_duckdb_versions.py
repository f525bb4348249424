"""DuckDB 1.4 reads the same histories, cut time and fingerprint as the version of today."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import duckdb
import pytest

import scalelab

ZONES = ["UTC", "Europe/Berlin", "America/New_York"]
# Reads every file of a folder and prints what came of it.
CHILD = """
import json, sys
from pathlib import Path
import duckdb
from scalelab.dataset_facts.describe import describe
from scalelab.datasets.request import request
found = {"duckdb": duckdb.__version__}
for path in sorted(Path(sys.argv[1]).iterdir()):
    dataset = request(path, None, {})
    whole = dataset.load()
    ids = whole.find_original_ids().tolist()
    found[path.name] = {
        "fingerprint": whole.fingerprint,
        "histories": sorted(
            [[str(ids[i - 1]) for i in whole.histories[u]] for u in range(whole.num_users)]
        ),
        "times": [whole.time_unit, sorted(whole.times.tolist())],
        "cut": describe(dataset)["splits"]["temporal"].get("cut_date"),
    }
print(json.dumps(found))
"""


def rows():
    """Users, items and seconds in order of time; the last user begins after the rest."""
    ordered = [
        (u, (u * 7 + n) % 30, 1_600_000_000 + 3_600 * n + u) for u in range(9) for n in range(9)
    ]
    ordered += [(9, n, 1_600_100_000 + n) for n in range(5)]
    return sorted(ordered, key=lambda row: row[2])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One content in every format."""
    folder = tmp_path_factory.mktemp("files")
    plain = "".join(f"{u},{i},{t}\n" for u, i, t in rows())
    (folder / "a.csv").write_text("user,item,ts\n" + plain)
    (folder / "a.tsv").write_text("user\titem\tts\n" + plain.replace(",", "\t"))
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (folder / "a.inter").write_text(header + plain.replace(",", "\t"))
    (folder / "a.dat").write_text("".join(f"{u}::{i}::5::{t}\n" for u, i, t in rows()))
    lines = [json.dumps({"user": u, "item": i, "ts": t}) for u, i, t in rows()]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = f"read_csv('{folder}/a.csv')"
        date = "strftime(make_timestamp(ts * 1000000), '%Y-%m-%dT%H:%M:%SZ')"
        for name, select, options in (
            ("b.csv.gz", "*", ""),
            ("c.csv.zst", "*", ""),
            ("d.parquet", "*", "(FORMAT parquet)"),
            ("e.parquet", "user::VARCHAR AS user, item::VARCHAR AS item, ts", "(FORMAT parquet)"),
            ("f.parquet", "user, item, to_timestamp(ts) AS ts", "(FORMAT parquet)"),
            ("g.parquet", "user, item, make_timestamp(ts * 1000000) AS ts", "(FORMAT parquet)"),
            ("h.csv", f"user, item, {date} AS ts", ""),
        ):  # fmt: skip
            connection.execute(
                f"COPY (SELECT {select} FROM {source}) TO '{folder}/{name}' {options}"
            )
    return folder


@pytest.fixture(scope="module")
def old_python(tmp_path_factory):
    """An environment of its own with DuckDB 1.4, and all else from this one."""
    folder = tmp_path_factory.mktemp("duckdb-1.4") / "env"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "duckdb==1.4.*"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"DuckDB 1.4 cannot be installed: {done.stderr.splitlines()[-1:]}")
    return python


def read(python, files, zone):
    # What the environment lacks comes from this one; its own DuckDB is found first.
    own = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    here = [str(Path(scalelab.__file__).parents[1]), own, *(p for p in sys.path if p)]
    environment = {**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join(here)}
    done = subprocess.run(
        [str(python), "-c", CHILD, str(files)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_duckdb_1_4_reads_what_the_version_of_today_reads(files, old_python):
    today = read(Path(sys.executable), files, "UTC")
    assert today.pop("duckdb") == duckdb.__version__
    contents = list(today.values())
    assert all(content == contents[0] for content in contents)
    assert contents[0]["cut"] is not None
    for zone in ZONES:
        old = read(old_python, files, zone)
        assert old.pop("duckdb").startswith("1.4.")
        assert old == today


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.slow
def test_the_version_of_today_reads_one_content_in_every_format_and_zone(files, zone):
    found = read(Path(sys.executable), files, zone)
    assert found.pop("duckdb") == duckdb.__version__
    contents = list(found.values())
    assert len(contents) == 12
    assert all(content == contents[0] for content in contents)
