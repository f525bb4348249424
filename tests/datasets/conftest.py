"""Small files of every form that a reader reads, and interactions drawn at will."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from scalelab.datasets.interactions import Interactions

# user, item, time, in file order: users interleaved, times out of order, one tie (user 7: 30, 10).
# Numbers that are no clock times can be taken for counts.
NOON = 1_600_000_000
ROWS = [
    (7, 20, NOON + 5),
    (3, 30, NOON + 1),
    (7, 30, NOON + 2),
    (7, 10, NOON + 2),
    (3, 10, NOON + 4),
    (5, 40, NOON + 3),
    (3, 40, NOON + 9),
]
HISTORIES = {3: [30, 10, 40], 5: [40], 7: [30, 10, 20]}


def interactions_of(
    histories: list[list[int]], times: list[list[int]] | None = None
) -> Interactions:
    flat = [item for history in histories for item in history]
    return Interactions(
        item_ids=np.array(flat, dtype=np.int32),
        offsets=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        times=None if times is None else np.array([t for ts in times for t in ts], dtype=np.int64),
        num_items=max(flat),
        time_is_order=times is None,
        fingerprint="test",
        dropped={},
    )


@st.composite
def timed_histories(draw: st.DrawFn) -> Interactions:
    histories = draw(
        st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=12)
    )
    times = [
        sorted(draw(st.lists(st.integers(0, 20), min_size=len(h), max_size=len(h))))
        for h in histories
    ]
    return interactions_of(histories, times)


def write_rows(folder: Path, reader: str) -> Path:
    """ROWS in the form of a reader."""
    if reader == "table":
        path = folder / "rows.csv"
        path.write_text("user,item,ts\n" + "".join(f"{u},{i},{t}\n" for u, i, t in ROWS))
    elif reader == "recbole":
        path = folder / "rows.inter"
        header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        path.write_text(header + "".join(f"{u}\t{i}\t4\t{t}\n" for u, i, t in ROWS))
    elif reader == "movielens":
        path = folder / "ratings.dat"
        path.write_text("".join(f"{u}::{i}::4::{t}\n" for u, i, t in ROWS))
    elif reader == "sequences":
        path = folder / "rows.txt"
        path.write_text("".join(f"{u} {' '.join(map(str, h))}\n" for u, h in HISTORIES.items()))
    elif reader == "lines":
        path = folder / "rows.txt"
        path.write_text("".join(f"{u} {i} {t}\n" for u, i, t in ROWS))
    elif reader == "sessions":
        path = folder / "rows.jsonl.gz"
        with gzip.open(path, "wt") as file:
            for user in HISTORIES:
                events = [{"aid": i, "ts": t, "type": "clicks"} for u, i, t in ROWS if u == user]
                file.write(json.dumps({"session": user, "events": events}) + "\n")
    else:
        pytest.fail(f"write a small file for the reader {reader!r} here")
    return path
