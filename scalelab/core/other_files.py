"""Say how to write anew the downloaded files that no reader reads: Netflix's and MIND's."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from scalelab.core.errors import DataError

__all__ = ["is_netflix", "netflix_error", "refuse_mind"]

_NETFLIX = (re.compile(r"[0-9]+:"), re.compile(r"[0-9]+,[0-9]+,[0-9]{4}-[0-9]{2}-[0-9]{2}"))
# Impression, user, time, history, impressions.
_MIND = re.compile(r"[0-9]+\tU[0-9]+\t[^\t]+\t(N[0-9]+ ?)*\tN[0-9]+(-[01])?( N[0-9]+(-[01])?)*")
_MIND_QUERY = (
    "COPY (WITH log AS (SELECT * REPLACE (strptime(t, '%m/%d/%Y %I:%M:%S %p') AS t) FROM "
    "read_csv({files}, delim='\\t', header=false, quote='', escape='', auto_detect=false, "
    "columns={{'n':'BIGINT', 'user_id':'VARCHAR', 't':'VARCHAR', 'h':'VARCHAR', 's':'VARCHAR'}})), "
    "items AS (SELECT user_id, 0 AS n, NULL AS t, unnest(string_split(min_by(h, t), ' ')) AS item "
    "FROM log WHERE h <> '' GROUP BY user_id UNION ALL SELECT user_id, n, t, "
    "unnest(string_split(s, ' ')) FROM log) SELECT user_id, split_part(item, '-', 1) AS "
    "item_id FROM (SELECT *, row_number() OVER () AS k FROM items) WHERE n = 0 OR "
    "item LIKE '%-1' ORDER BY user_id, t NULLS FIRST, k) TO 'mind.parquet'"
)


def is_netflix(lines: Sequence[str]) -> bool:
    """Whether the first lines are those of the Netflix prize: `1:`, then user, rating, date."""
    return len(lines) > 1 and all(
        pattern.fullmatch(line.strip()) for pattern, line in zip(_NETFLIX, lines, strict=False)
    )


def netflix_error(source: object, parts: Sequence[Path]) -> DataError:
    """What to do with ratings below a line that names their item."""
    unpack = "gzip -dc" if parts[0].suffix == ".gz" else "cat"
    return DataError(
        f"{source}: ratings stand below a line that names their item, as in the files of the "
        "Netflix prize",
        f"write a table: (echo user,item,rating,date; {unpack} {_typed(parts)} | tr -d '\\r' | "
        "awk -F, -v OFS=, '/:$/ {item = $1 + 0; next} {print $1, item, $2, $3}') > netflix.csv",
    )


def refuse_mind(source: object, parts: Sequence[Path], lines: Sequence[str]) -> None:
    """Raises DataError where the first lines are those of MIND's behaviors.tsv.

    Each row repeats the history of its user, so that no column alone makes one.
    """
    if not lines or not all(_MIND.fullmatch(line.rstrip()) for line in lines):
        return
    query = _MIND_QUERY.format(files="[" + ", ".join(_literal(part) for part in parts) + "]")
    raise DataError(
        f"{source} is MIND's log of impressions: each row repeats the history of its user, and "
        "clicks are those that end in -1",
        "write histories and the clicks after them as a table in order of time: "
        f'python -c "import duckdb; duckdb.sql(\\"\\"\\"{query}\\"\\"\\")"',
    )


def _literal(part: Path) -> str:
    return "'" + str(part).replace("'", "''") + "'"


def _typed(parts: Sequence[Path]) -> str:
    """The parts as one types them: few by name, many by a pattern of their folder."""
    if len(parts) <= 4:
        return " ".join(shlex.quote(str(part)) for part in parts)
    return f"{shlex.quote(str(parts[0].parent))}/*{parts[0].suffix}"
