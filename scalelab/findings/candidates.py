"""Read from a ledger the configurations that the answer chooses from, and what did not finish."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.identity import COMPARABLE
from scalelab.findings.differences import KEY, Described, Key, Settings, describe, key_of
from scalelab.findings.endings import endings_of, endings_on
from scalelab.findings.verdicts import Verdict, verdicts_of
from scalelab.store.ledger import Ledger

__all__ = ["CLOSE", "Candidate", "Group", "groups_of"]

# A configuration comes close to another with this share of its quality on validation.
CLOSE = 0.95
# Only so many of a group, the best on validation, are compared with the best one.
_MOST = 50

_SAME = " AND ".join(f"k.{name} IS NOT DISTINCT FROM other.{name}" for name in COMPARABLE)
_GROUP = ", ".join(COMPARABLE)
# The peak of evaluation by the last attempt of each run, as in the view `configurations`, which has
# no such column in older ledgers.
_KNOWN = f"""
WITH evaluated AS (
    SELECT {", ".join(KEY)}, max(seed) AS last_seed,
        CASE WHEN count(eval_peak_bytes) = count(*) THEN max(eval_peak_bytes) END AS eval_peak_bytes
    FROM results SEMI JOIN (
        SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
        FROM results GROUP BY fingerprint, device
    ) AS newest USING (run_id) GROUP BY ALL
),
known AS (
    SELECT {", ".join(f"c.{name}" for name in KEY)}, dataset, num_items, num_users, num_seeds,
        valid_quality, test_quality, test_quality_std, oracle_quality, valid_ndcg_10,
        test_ndcg_10, test_ndcg_10_std, oracle_ndcg_10, peak_bytes, peak_bytes_max,
        train_s, num_lost, e.eval_peak_bytes, e.last_seed,
        CASE WHEN peak_bytes IS NOT NULL THEN greatest(peak_bytes, e.eval_peak_bytes) END
            AS needed_bytes,
        num_lost = 0 AND ($budget IS NULL
            OR (peak_bytes_max <= $budget AND e.eval_peak_bytes <= $budget)) IS TRUE AS fits
    FROM configurations AS c JOIN evaluated AS e
        ON {" AND ".join(f"c.{name} IS NOT DISTINCT FROM e.{name}" for name in KEY)}
    WHERE valid_quality IS NOT NULL AND test_quality IS NOT NULL
        AND ($studies IS NULL OR list_has_any(study_ids, $studies))
)"""
_FITTING = f"{_KNOWN} SELECT {', '.join(KEY)} FROM known WHERE fits"
# Specs are long: they are looked up only for the configurations that are left.
_CANDIDATES = f"""{_KNOWN},
totals AS (
    SELECT {_GROUP}, count(*) AS num_finished, count(*) FILTER (fits) AS num_fit,
        count(*) FILTER (num_lost > 0) AS num_with_lost, max(last_seed) AS group_last_seed,
        min(greatest(peak_bytes_max, eval_peak_bytes)) FILTER (num_lost = 0
            AND peak_bytes_max IS NOT NULL AND eval_peak_bytes IS NOT NULL) AS least_bytes,
        max(valid_quality) FILTER (fits) AS best_valid,
        max(test_quality) FILTER (fits) AS best_test,
        min(needed_bytes) FILTER (fits) AS least_needed_bytes,
        count(needed_bytes) FILTER (fits) AS num_with_peak
    FROM known GROUP BY ALL
),
left_over AS (
    SELECT k.*, num_finished, num_fit, num_with_lost, group_last_seed, least_bytes,
        best_test, least_needed_bytes, num_with_peak,
        fits AND valid_quality >= {CLOSE} * best_valid AS is_close
    FROM known AS k JOIN totals AS other ON {_SAME}
    QUALIFY row_number() OVER (
            PARTITION BY k.{", k.".join(COMPARABLE)}, fits
            ORDER BY valid_quality DESC, peak_bytes, configuration
        ) <= CASE WHEN fits THEN {_MOST} ELSE 1 END
        OR is_close AND row_number() OVER (
            PARTITION BY k.{", k.".join(COMPARABLE)}, is_close
            ORDER BY needed_bytes, valid_quality DESC, peak_bytes, configuration
        ) = 1
)
SELECT left_over.*, spec FROM left_over JOIN (
    SELECT configuration, any_value(spec)::VARCHAR AS spec
    FROM results SEMI JOIN left_over USING (configuration) GROUP BY configuration
) AS specs USING (configuration)
ORDER BY dataset, num_items, protocol, device, data_fingerprint, results_version, quality_metric,
    fits DESC, valid_quality DESC, peak_bytes, configuration
"""


@dataclass(frozen=True, kw_only=True)
class NDCG:
    """NDCG@10 of a configuration, whatever metric it was chosen by."""

    valid: float | None
    test: float | None
    test_std: float | None
    oracle: float | None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finished configuration: means over its seeds, the highest peak of evaluation.

    `valid`, `test` and `oracle` are by the metric of its group; `ndcg_10` has those by NDCG@10.
    """

    key: Key
    label: str
    settings: Settings
    seeds: int
    valid: float
    test: float
    test_std: float | None
    oracle: float | None
    ndcg_10: NDCG
    peak_bytes: int | None
    eval_peak_bytes: int | None
    train_s: float | None
    verdict: Verdict

    @property
    def needed_bytes(self) -> int | None:
        """The higher peak of training and evaluation, as a budget counts; None: not known."""
        if self.peak_bytes is None:
            return None
        return max(self.peak_bytes, self.eval_peak_bytes or 0)

    @property
    def at_baseline(self) -> bool:
        """Whether every seed of it ended level with the popularity list."""
        return self.verdict.all_at_baseline


@dataclass(frozen=True, kw_only=True)
class Group:
    """What may be compared: one data set, protocol, device, results version and metric.

    `metric` chose the epochs, and all qualities are by it. `candidates` fit the budget, the best on
    validation first, at most 50 and the cheapest close one. Of all that fit, `best_test` is the
    best quality on the test users, `least_needed_bytes` the least that one needs (`num_with_peak`
    have one), and `num_rising` and `num_at_baseline` count verdicts. `least_bytes` is the highest
    peak of the configuration with the lowest one, evaluation counted. `endings` counts runs of that
    data by outcome, without those that are done where some have a quality.
    """

    data: str
    data_fingerprint: str | None
    protocol: str
    metric: str
    num_users: int | None
    candidates: tuple[Candidate, ...]
    num_finished: int
    num_fit: int
    num_with_lost: int
    last_seed: int
    least_bytes: int | None
    best_test: float | None
    least_needed_bytes: int | None
    num_with_peak: int
    num_rising: int
    num_at_baseline: int
    endings: Mapping[str, int]


def groups_of(
    ledger: Ledger,
    budget_bytes: int | None,
    studies: Sequence[str] | None,
) -> list[Group]:
    """All comparisons of a ledger, also those where nothing has finished, in a steady order.

    `studies` are ids; None takes the runs of all. What a study took from another one counts too.
    Raises LedgerError.
    """
    chosen = {"studies": None if studies is None else list(studies)}
    parameters = {"budget": budget_bytes, **chosen}
    rows = ledger.query(_CANDIDATES, parameters).to_pylist()
    endings = endings_of(ledger, studies)
    described = describe(rows)
    fitting = ledger.query(_FITTING, parameters).to_pylist()
    # All at once is quicker than a search for most of them.
    wanted = None if studies is None else {row["configuration"] for row in [*rows, *fitting]}
    verdicts = verdicts_of(ledger, wanted)
    verdicts_by_group: dict[Key, list[Verdict]] = {}
    for row in fitting:
        place = tuple(row[name] for name in COMPARABLE)
        verdicts_by_group.setdefault(place, []).append(verdicts[key_of(row)])
    by_group: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        by_group.setdefault(tuple(row[name] for name in COMPARABLE), []).append(row)
    devices = Counter(key[:2] for key in {key[:3] for key in by_group})
    found: list[Group] = []
    for key, own in by_group.items():
        first, all_verdicts = own[0], verdicts_by_group.get(key, [])
        data = described[key_of(first)].data
        if devices[key[:2]] > 1:
            data = f"{data}, {first['device'] or 'unknown device'}"
        group = Group(
            data=data,
            data_fingerprint=first["data_fingerprint"],
            protocol=first["protocol"],
            metric=first["quality_metric"],
            num_users=first["num_users"],
            candidates=tuple(
                _candidate(row, described[key_of(row)], verdicts[key_of(row)])
                for row in own
                if row["fits"]
            ),
            num_finished=first["num_finished"],
            num_fit=first["num_fit"],
            num_with_lost=first["num_with_lost"],
            last_seed=first["group_last_seed"],
            least_bytes=first["least_bytes"],
            best_test=first["best_test"],
            least_needed_bytes=first["least_needed_bytes"],
            num_with_peak=first["num_with_peak"],
            num_rising=sum(one.still_rising > 0 for one in all_verdicts),
            num_at_baseline=sum(one.all_at_baseline for one in all_verdicts),
            endings=endings_on(endings, first),
        )
        found.append(group)
    return found + _without_results(endings, rows)


def _without_results(
    endings: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> list[Group]:
    """The data on which no run has finished with a quality."""
    aims = [(row, (row["protocol"], row["quality_metric"])) for row in rows]
    known = {(*aim, row["data_fingerprint"]) for row, aim in aims}
    known |= {(*aim, row["dataset"], None) for row, aim in aims}
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    named: dict[tuple[Any, ...], str] = {}
    for one in endings:
        fingerprint = one["data_fingerprint"]
        place = (one["protocol"], one["quality_metric"], fingerprint)
        if fingerprint is None:
            place = (one["protocol"], one["quality_metric"], one["dataset"], None)
        if place not in known:
            found.setdefault(place, {})[one["outcome"]] = one["number"]
            named[place] = f"{one['dataset']}, {one['protocol']}"
    return [
        Group(
            data=named[place],
            data_fingerprint=place[2] if len(place) == 3 else None,
            protocol=place[0],
            metric=place[1],
            num_users=None,
            candidates=(),
            num_finished=0,
            num_fit=0,
            num_with_lost=0,
            last_seed=0,
            least_bytes=None,
            best_test=None,
            least_needed_bytes=None,
            num_with_peak=0,
            num_rising=0,
            num_at_baseline=0,
            endings=outcomes,
        )
        for place, outcomes in found.items()
    ]


def _candidate(row: dict[str, Any], described: Described, verdict: Verdict) -> Candidate:
    return Candidate(
        key=key_of(row),
        label=described.label,
        settings=described.settings,
        seeds=row["num_seeds"],
        valid=row["valid_quality"],
        test=row["test_quality"],
        test_std=row["test_quality_std"],
        oracle=row["oracle_quality"],
        ndcg_10=NDCG(
            valid=row["valid_ndcg_10"],
            test=row["test_ndcg_10"],
            test_std=row["test_ndcg_10_std"],
            oracle=row["oracle_ndcg_10"],
        ),
        peak_bytes=row["peak_bytes"],
        eval_peak_bytes=row["eval_peak_bytes"],
        train_s=row["train_s"],
        verdict=verdict,
    )
