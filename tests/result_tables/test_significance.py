"""A dagger marks what the test users tell apart: ledgers with known ranks, and beauty-losses."""

import re
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.presets import find_preset
from scalelab.core.records import Metric, UserRanks
from scalelab.result_tables.result_table import make_table
from scalelab.store.ledger import Ledger

USERS = 3000
FIGURES = {
    "ndcg@10": lambda ranks: np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0),
    "hr@10": lambda ranks: ranks <= 10,
    "mrr@5": lambda ranks: np.where(ranks <= 5, 1 / ranks, 0),
}


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create_or_open(tmp_path / "l.duckdb")


def ranks_of(quality, seed=0):
    """Ranks of which about `quality` are within the first ten, the same users first."""
    rng = np.random.default_rng(seed)
    inside = rng.random(USERS) < quality
    return np.where(inside, rng.integers(1, 11, USERS), 50)


def made(fake, index, ranks, *, valid, keep_ranks=True, **settings):
    """A run whose test metrics are those of its ranks."""
    one = fake.record(index=index, **settings)
    metrics = [
        Metric(split="test", epoch=1, name=name, k=int(k), value=float(figure(ranks).mean()))
        for (name, _, k), figure in ((key.partition("@"), f) for key, f in FIGURES.items())
    ]
    metrics.append(Metric(split="valid", epoch=1, name="ndcg", k=10, value=valid))
    return replace(
        one,
        run=replace(one.run, best_epoch=1, epochs=1, fingerprint=f"fingerprint-{index}"),
        metrics=tuple(metrics),
        user_ranks=UserRanks(ranks=tuple(map(int, ranks))) if keep_ranks else None,
    )


def table(ledger, **options):
    given = {"rows": ("loss",), "columns": ("dataset",), "metrics": ("ndcg@10", "hr@10")} | options
    return make_table(ledger, **given)


def daggers(made_table):
    """By the first head, which of the metrics differ."""
    return {
        line.heads[0]: [
            metric
            for metric, entry in zip(made_table.metrics, line.entries, strict=True)
            if entry.differs
        ]
        for line in made_table.lines
    }


def test_what_the_users_tell_apart_has_a_dagger_and_a_tie_has_none(fake, ledger):
    best, same, worse = ranks_of(0.5), ranks_of(0.5), ranks_of(0.3)
    # Some users of the second change places: the mean is the same.
    same[:200] = np.random.default_rng(1).permutation(same[:200])
    ledger.append(
        [
            made(fake, 1, best, valid=0.5, loss="dense_ce"),
            made(fake, 2, same, valid=0.4, loss="rece"),
            made(fake, 3, worse, valid=0.3, loss="bce"),
        ]
    )
    shown = table(ledger)
    assert daggers(shown) == {"bce": ["ndcg@10", "hr@10"], "dense_ce": [], "rece": []}
    note = next(note for note in shown.notes if "dagger" in note)
    assert "the first on validation, dense_ce: paired bootstrap" in note
    assert re.search(
        r"bce & 0\.\d{4}\$\^\{\\dagger\}\$ & 0\.\d{4}\$\^\{\\dagger\}\$", shown.to_latex()
    )
    assert re.search(r"\| bce \| 0\.\d{4}&dagger; \|", shown.to_markdown())
    assert "<sup>&dagger;</sup>" in shown.to_html()
    rows = {
        (row["loss"], row["metric"]): (row["differs"], row["p_value"])
        for row in shown.figures.to_pylist()
    }
    assert rows["bce", "ndcg@10"][0] is True
    assert rows["bce", "ndcg@10"][1] < 0.01
    assert rows["rece", "hr@10"][0] is False
    assert rows["dense_ce", "ndcg@10"] == rows["bce", "peak_bytes"] == (None, None)


def test_users_with_several_targets_are_tested_and_drawn_whole(fake, ledger):
    """A thousand users of three targets each; other numbers of targets are other users."""
    best = ranks_of(0.5)
    few = best.copy()
    # 40 users have all three of theirs, 25 others all: of single targets it would be clear.
    best[:120], best[120:195] = 1, 50
    few[:120], few[120:195] = 50, 1
    runs = [
        made(fake, 1, best, valid=0.5, loss="dense_ce"),
        made(fake, 2, ranks_of(0.3), valid=0.4, loss="rece"),
        made(fake, 3, few, valid=0.3, loss="bce"),
        made(fake, 4, ranks_of(0.3), valid=0.2, loss="sce"),
    ]
    numbers = [(3,) * 1000] * 3 + [(2, 4) * 500]
    ledger.append(
        [
            replace(one, user_ranks=replace(one.user_ranks, num_targets=number))
            for one, number in zip(runs, numbers, strict=True)
        ]
    )
    shown = table(ledger, metrics=("hr@10",))
    assert daggers(shown) == {"rece": ["hr@10"], "dense_ce": [], "bce": [], "sce": []}
    p_values = {
        row["loss"]: row["p_value"] for row in shown.figures.to_pylist() if row["metric"] == "hr@10"
    }
    assert p_values["sce"] is None
    assert 0.05 < p_values["bce"] < 0.2
    single = Ledger.create_or_open(ledger.path.with_name("single.duckdb"))
    single.append(runs[:3])
    alone = daggers(table(single, metrics=("hr@10",)))
    assert alone == {"rece": ["hr@10"], "dense_ce": [], "bce": ["hr@10"]}


def test_chance_of_many_comparisons_is_corrected(fake, ledger):
    """A difference that is found alone is not found as one of twenty."""
    best = ranks_of(0.5)
    near = best.copy()
    worse = np.flatnonzero(best <= 10)[:60]
    better = np.flatnonzero(best > 10)[:38]
    near[worse], near[better] = 50, best[worse[:38]]
    ledger.append(
        [
            made(fake, 1, best, valid=0.5, loss="dense_ce"),
            made(fake, 2, near, valid=0.4, loss="rece"),
        ]
    )
    assert "hr@10" in daggers(table(ledger))["rece"]
    others = [
        made(fake, 3 + n, best, valid=0.3, loss="bce", num_negatives=n + 1) for n in range(19)
    ]
    ledger.append(others)
    many = table(ledger, rows=("loss", "num_negatives"))
    assert not any(daggers(many).values())


def test_a_difference_is_found_among_a_hundred(fake, ledger):
    """Of four to eight standard errors: drawings must show a p-value below 0.0005."""
    best = ranks_of(0.5)
    near = best.copy()
    near[np.flatnonzero(best <= 10)[:30]] = 50
    ledger.append(
        [
            made(fake, 1, best, valid=0.5, loss="dense_ce"),
            made(fake, 2, near, valid=0.4, loss="rece"),
        ]
    )
    ledger.append(
        made(fake, 3 + n, best, valid=0.3, loss="bce", num_negatives=n + 1) for n in range(99)
    )
    found = daggers(table(ledger, rows=("loss", "num_negatives"), metrics=("hr@10",)))
    assert found["rece"] == ["hr@10"]
    assert found["bce"] == []


@pytest.mark.slow
def test_what_lies_within_the_spread_over_seeds_has_none(fake, ledger):
    ledger.append(
        [made(fake, n, ranks_of(0.5), valid=0.5, seed=n, loss="dense_ce") for n in (0, 1)]
    )
    shares = (0.30, 0.68)
    ledger.append(
        [
            made(fake, 5 + n, ranks_of(share), valid=0.4, seed=n, loss="rece")
            for n, share in enumerate(shares)
        ]
    )
    first, second = (line.entries[1].figure for line in table(ledger).lines)
    assert abs(first.mean - second.mean) < second.std
    assert not any(daggers(table(ledger)).values())


def test_without_ranks_nothing_is_tested_and_it_says_so(fake, ledger):
    ledger.append(
        [
            made(fake, 1, ranks_of(0.5), valid=0.5, loss="dense_ce"),
            made(fake, 2, ranks_of(0.1), valid=0.1, loss="bce", keep_ranks=False),
        ]
    )
    shown = table(ledger)
    assert not any(daggers(shown).values())
    assert any("were not tested for significance" in note for note in shown.notes)


def test_data_sets_are_tested_apart(fake, ledger):
    for number, dataset in enumerate(("beauty", "toys")):
        first, second = ("dense_ce", "bce") if number else ("bce", "dense_ce")
        # The best of the second data set is as the worse of the first, and not compared with it.
        high, low = (0.3, 0.1) if number else (0.5, 0.3)
        ledger.append(
            [
                made(fake, 9 * number, ranks_of(high), valid=high, loss=first, dataset=dataset),
                made(fake, 9 * number + 1, ranks_of(low), valid=low, loss=second, dataset=dataset),
            ]
        )
    shown = table(ledger, metrics=("ndcg@10",))
    step = len(shown.metrics)
    marks = {line.heads[0]: [e.differs for e in line.entries[::step]] for line in shown.lines}
    assert marks == {"bce": [False, True], "dense_ce": [True, False]}


@pytest.mark.slow
def test_the_latex_of_beauty_losses_is_what_sql_says(fake, ledger):
    """Every figure, spread and mark, for the cells of the study with three seeds."""
    study = tomllib.loads(find_preset("studies", "beauty-losses").read_text(encoding="utf-8"))
    index = 0
    for number, cell in enumerate(study["cells"]):
        settings = {"loss": cell["loss.name"], "dataset": "amazon-beauty"}
        settings["num_negatives"] = cell.get("negatives.num_negatives", 256)
        for seed in range(study["final"]["seeds"]):
            index += 1
            ranks = ranks_of(0.5 - 0.08 * number, seed=seed)
            valid = 0.5 - 0.08 * number
            ledger.append([made(fake, index, ranks, valid=valid, seed=seed, **settings)])
    shown = table(ledger, rows=("loss", "num_negatives"), metrics=tuple(FIGURES))
    rows = ledger.query(
        """
        SELECT loss, num_negatives, name || '@' || k AS metric, avg(value) AS mean,
            stddev_samp(value) AS std, avg(peak_bytes) / 1024 / 1024 AS mib, avg(train_s) AS train_s
        FROM results JOIN metrics USING (run_id) WHERE split = 'test' GROUP BY ALL
        """
    ).to_pylist()
    means = {(row["loss"], row["num_negatives"], row["metric"]): row["mean"] for row in rows}
    body = shown.to_latex().partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    cells = [[c.strip() for c in re.split(r"(?<!\\)&", line)] for line in body.splitlines()]
    found = {(line[0].replace("\\_", "_"), line[1]): line[2:] for line in cells}
    assert len(found) == len(study["cells"])
    for row in rows:
        negatives = f"{row['num_negatives']:,}"
        texts = found[row["loss"], negatives]
        text = texts[list(FIGURES).index(row["metric"])]
        assert f"{row['mean']:.4f}" in text
        assert f"$\\pm$ {row['std']:.4f}" in text
        better = sum(mean > row["mean"] for key, mean in means.items() if key[2] == row["metric"])
        assert ("\\textbf{" in text) == (better == 0)
        assert ("\\underline{" in text) == (better == 1)
        assert ("\\dagger" in text) == (better > 0)
        assert texts[-2].startswith(f"{row['mib']:,.1f}")
        assert texts[-1].startswith(f"{row['train_s']:,.1f}")
