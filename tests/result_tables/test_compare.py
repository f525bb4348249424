"""Ours beside published results: the right rows, the right numbers, clear refusals."""

import csv
import json
import statistics
from dataclasses import replace

import pytest

from scalelab.core.errors import DataError
from scalelab.core.presets import shipped_published
from scalelab.core.records import Metric, Outcome
from scalelab.result_tables.candidates import candidates
from scalelab.result_tables.compare import compare, unmatched
from scalelab.result_tables.protocols import same_protocol
from scalelab.result_tables.published import published_of
from scalelab.store.ledger import Ledger

HEADER = "source,dataset,protocol,model,loss,setting,metric,value\n"


@pytest.fixture
def ledger(fake, tmp_path):
    return Ledger.create_or_open(tmp_path / "a.duckdb")


@pytest.fixture
def published(tmp_path):
    def write(*lines, header=HEADER):
        file = tmp_path / "published.csv"
        file.write_text(header + "".join(f"{line}\n" for line in lines))
        return file

    return write


def made(fake, index, *, loss_options=None, **settings):
    """A run on amazon-beauty whose loss has further options."""
    one = fake.record(index=index, dataset="amazon-beauty", **settings)
    spec = json.loads(one.run.spec)
    spec["loss"] |= loss_options or {}
    run = replace(one.run, spec=json.dumps(spec), fingerprint=f"fingerprint-{index}")
    return replace(one, run=run)


def figure(record, name, k):
    return next(m.value for m in record.metrics if (m.split, m.name, m.k) == ("test", name, k))


def test_the_mean_over_seeds_stands_beside_the_published_value(fake, ledger, published):
    runs = [made(fake, i, loss="cross_entropy", seed=i) for i in range(3)]
    ledger.append(runs)
    protocol = '"leave-one-out, full ranking"'
    file = published(
        f"paper,Amazon_Beauty,{protocol},SASRec,ce,,ndcg@10,0.05",
        f"paper,amazon-beauty,{protocol},sasrec,ce,,recall@20,0.1",
        f"paper,amazon-beauty,{protocol},gru4rec,ce,,ndcg@10,0.05",
        f"paper,amazon-toys,{protocol},sasrec,ce,,ndcg@10,0.05",
        "paper,amazon-beauty,temporal 0.95 quantile,sasrec,ce,,ndcg@10,0.05",
        f"paper,amazon-beauty,{protocol},sasrec,ce,,peak_gb,2",
    )
    rows = {row["metric"]: row for row in compare(ledger, file).to_pylist()}
    assert rows.keys() == {"ndcg@10", "recall@20", "peak_gb"}
    values = [figure(run, "ndcg", 10) for run in runs]
    row = rows["ndcg@10"]
    assert row["published"] == 0.05
    assert row["ours"] == pytest.approx(statistics.fmean(values))
    assert row["spread"] == pytest.approx(statistics.stdev(values))
    assert row["ratio"] == pytest.approx(row["ours"] / 0.05)
    assert (row["seeds"], row["our_loss"]) == (3, "cross_entropy")
    hits = [figure(run, "hr", 20) for run in runs]
    assert rows["recall@20"]["ours"] == pytest.approx(statistics.fmean(hits))
    assert list(row)[:8] == [
        "dataset", "model", "loss", "metric", "published", "ours", "spread", "ratio"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def every_loss(fake, tmp_path_factory):
    """A run of each loss that papers name, in the order of the indices below."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("compare") / "losses.duckdb")
    ledger.append(
        [
            made(fake, 0, loss="dense_ce"),
            made(fake, 1, loss="dense_ce", loss_options={"train_on": "last"}),
            made(fake, 2, loss="bce", num_negatives=1),
            made(fake, 3, loss="bce", num_negatives=64),
            made(fake, 4, loss="sampled_softmax"),
            made(fake, 5, loss="sampled_softmax", loss_options={"top_k": 100}),
            made(fake, 6, loss="gbce"),
            made(fake, 7, loss="rece"),
        ]
    )
    return ledger


@pytest.mark.parametrize(
    ("published_loss", "index"),
    [
        ("ce", 0),
        ("ce_last", 1),
        ("bce", 2),
        ("bce+", 3),
        ("sampled_ce", 4),
        ("sampled softmax", 4),
        ("tron", 5),
        ("gbce", 6),
        ("rece", 7),
    ],
)
def test_a_loss_is_found_under_the_name_its_paper_gives(
    every_loss, published, published_loss, index
):
    file = published(f"p,amazon-beauty,,sasrec,{published_loss},,ndcg@10,0.1")
    rows = compare(every_loss, file)
    wanted = every_loss.query(f"SELECT configuration FROM runs WHERE run_id = 'run-{index:06d}'")
    assert rows["configuration"].to_pylist() == wanted["configuration"].to_pylist()


@pytest.mark.parametrize("lost", [Outcome.OOM, Outcome.DIVERGED])
def test_what_lost_a_seed_is_ours_only_where_nothing_else_is(fake, ledger, published, lost):
    """As in `table`, which ranks it last: the seeds that are left may be the lucky ones."""
    unlucky = [made(fake, i, loss="cross_entropy", batch_size=64, seed=i) for i in range(2)]
    unlucky[1] = made(fake, 1, loss="cross_entropy", batch_size=64, seed=1, outcome=lost)
    file = published("p,amazon-beauty,,sasrec,ce,,ndcg@10,0.1")
    ledger.append(unlucky)
    (row,) = compare(ledger, file).to_pylist()
    assert (row["seeds"], row["lost_seeds"]) == (1, 1)
    whole = [made(fake, 2 + i, loss="dense_ce", batch_size=16, seed=i) for i in range(2)]
    ledger.append([lower(run) for run in whole])
    (row,) = compare(ledger, file).to_pylist()
    assert (row["our_loss"], row["seeds"], row["lost_seeds"]) == ("dense_ce", 2, 0)
    (first, *_) = sorted(candidates(ledger, [], study=None, hidden=()), key=lambda one: one.rank)
    assert first.key[0] == row["configuration"]


def lower(record):
    """A tenth of the quality."""
    return replace(record, metrics=tuple(replace(m, value=m.value / 10) for m in record.metrics))


SPLITS = {
    "leave-one-out, seen excluded": ["leave-one-out, full ranking", "", "full ranking"],
    "temporal 0.95, seen excluded": [
        "temporal 0.95 quantile, last item of test users, full ranking",
        "temporal",
        "",
        "full ranking",
    ],
    "temporal 0.9, seen excluded": ["temporal", "", "full ranking"],
    "global time 0.9, seen excluded": [
        "global time split, quantile 0.9, last target, validation by time",
        "",
        "full ranking",
    ],
}
_TWO_CUTS = "global time split at the quantiles 0.81 and 0.9, last target"
_DATED = "global time split at the quantiles 0.81 and 0.9 (2014-03-15 to 2014-05-14), last target"
SPLITS |= {
    "global time 2014-03-15 to 2014-05-14, seen excluded": [_DATED, "", "full ranking"],
    "global time 0.81 to 0.9, seen excluded": [_TWO_CUTS, _DATED, "", "full ranking"],
}
SEVERAL = {
    "global time 0.9, targets successive, seen excluded": [
        "global time split, quantile 0.9, successive targets, validation by time"
    ],
    "sessions 0.9, seen included": ["test sessions"],
    "sessions 0.9, targets last, seen included": [
        "last event of test sessions",
        "",
        "full ranking",
    ],
    "sessions 0.9, targets all, seen included": ["sessions, all targets of each"],
}
SPLITS |= SEVERAL
# Cuts count as they are written: with the time of day, and as clock times.
_NOON = "global time split at 2014-03-15 12:00 and 2014-05-14 12:00, last target"
_SECONDS = "global time split at 1394841600 and 1400025600, last target"
SPLITS |= {
    "global time 2014-03-15T12:00 to 2014-05-14T12:00, seen excluded": [_NOON, "", "full ranking"],
    "global time 1394841600.0 to 1400025600.0, seen excluded": [_SECONDS, "", "full ranking"],
    "global time 1394841601.0 to 1400025600.0, seen excluded": ["", "full ranking"],
}
_SEEN = "leave-one-out, full ranking, seen items"
SPLITS["leave-one-out, seen excluded"].append(f"{_SEEN} excluded")
SPLITS["leave-one-out, seen included"] = [
    "leave-one-out, full ranking", f"{_SEEN} included", "", "full ranking"
]  # fmt: skip
NEVER = ["time split, all targets of the test window"]


@pytest.mark.parametrize("ours", SPLITS)
@pytest.mark.parametrize("theirs", sorted({t for every in SPLITS.values() for t in every}) + NEVER)
def test_splits_that_differ_never_stand_side_by_side(ours, theirs):
    """Names of splits as the papers have them; one that names none fits all."""
    assert same_protocol(ours, theirs) == (theirs in SPLITS[ours])


@pytest.mark.parametrize(
    "mark", ["500 users evaluated", "1,500 users evaluated", "5 items for test"]
)
def test_some_users_never_stand_beside_all(mark):
    whole = "leave-one-out, seen excluded"
    some = f"{whole}, {mark}"
    for theirs in ("", "leave-one-out", "full ranking", "leave-one-out, seen items excluded"):
        assert not same_protocol(some, theirs)
        assert same_protocol(whole, theirs)
    assert not same_protocol(whole, f"leave-one-out, {mark}")
    assert same_protocol(some, f"leave-one-out, {mark}")
    assert not same_protocol(some, f"leave-one-out, 9{mark}")


def test_runs_on_some_users_have_no_row_and_the_reason_is_said(fake, ledger, published):
    one = made(fake, 0, loss="dense_ce")
    some = "leave-one-out, seen excluded, 1500 users evaluated"
    ledger.append([replace(one, run=replace(one.run, protocol=some))])
    file = published("p,amazon-beauty,leave-one-out,sasrec,ce,,ndcg@10,0.1")
    assert compare(ledger, file).num_rows == 0
    assert unmatched(ledger, file) == [
        "amazon-beauty, sasrec, ce, ndcg@10: ours are over 1,500 users, theirs over all (set "
        "data.max_eval_users = 0)"
    ]


def test_another_split_has_no_row(fake, ledger, published):
    one = made(fake, 0, loss="dense_ce")
    ledger.append([replace(one, run=replace(one.run, protocol="global time 0.9, seen excluded"))])
    for theirs, number in (("full ranking", 1), ("leave-one-out", 0), (_TWO_CUTS, 0)):
        rows = compare(ledger, published(f'p,amazon-beauty,"{theirs}",sasrec,ce,,ndcg@10,0.1'))
        assert rows.num_rows == number


def test_the_best_on_validation_stands_for_a_loss(fake, ledger, published):
    ledger.append([made(fake, i, loss="bce", num_negatives=k) for i, k in enumerate((8, 64, 512))])
    best = ledger.query("SELECT configuration FROM results ORDER BY valid_ndcg_10 DESC LIMIT 1")
    rows = compare(ledger, published("p,amazon-beauty,,sasrec,bce+,,ndcg@10,0.1"))
    assert rows["configuration"].to_pylist() == best["configuration"].to_pylist()


def test_the_best_is_chosen_within_one_protocol(fake, ledger, published):
    """Another protocol has other, often higher, figures: no choice between them is fair."""
    protocols = ["leave-one-out, seen included", "leave-one-out, seen excluded"]
    protocols.append("leave-one-out, seen excluded, ties by hash")
    runs = [made(fake, i, loss="dense_ce") for i in range(3)]
    named = zip(runs, protocols, strict=True)
    ledger.append([replace(o, run=replace(o.run, protocol=p, seed=0)) for o, p in named])
    stated, silent = (
        f"p,amazon-beauty,{protocol},sasrec,ce,,ndcg@10,0.1"
        for protocol in ('"leave-one-out, seen items excluded"', "leave-one-out")
    )
    found = compare(ledger, published(stated)).to_pylist()
    assert {(row["our_protocol"], row["not_stated"]) for row in found} == {
        (protocol, "") for protocol in protocols[1:]
    }
    assert len(found) == 2
    found = compare(ledger, published(silent)).to_pylist()
    assert {row["our_protocol"] for row in found} == {*protocols}
    assert {row["not_stated"] for row in found} == {"not stated: whether seen items are excluded"}
    assert unmatched(ledger, published(silent)) == []


def test_a_table_that_cannot_be_read_gives_one_line(ledger, published, tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        compare(ledger, tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"row 2.*not a number"):
        compare(ledger, published("p,d,,m,bce,,ndcg@10,good"))
    with pytest.raises(DataError, match="no column 'model'"):
        compare(ledger, published("a,1", header="dataset,value\n"))


def test_the_shared_table_of_published_results_is_understood(fake, ledger, shared):
    file = shared / "references" / "published.csv"
    if not file.is_file():
        pytest.skip(f"no {file}")
    ledger.append([made(fake, 0, loss="dense_ce"), made(fake, 1, loss="bce", num_negatives=1)])
    rows = compare(ledger, file).to_pylist()
    assert {(row["dataset"], row["loss"]) for row in rows} == {
        ("amazon-beauty", "ce"),
        ("amazon-beauty", "bce"),
    }
    assert {row["our_protocol"] for row in rows} == {"leave-one-out, seen excluded"}


def test_what_has_no_counterpart_is_said_with_the_reason(fake, ledger, published):
    ledger.append([made(fake, 0, loss="cross_entropy")])
    file = published(
        "paper,amazon-beauty,leave-one-out,sasrec,ce,,ndcg@10,0.05",
        "paper,amazon-beauty,leave-one-out,sasrec,rece,,ndcg@10,0.05",
        "paper,amazon-beauty,leave-one-out,gru4rec,ce,,ndcg@10,0.05",
        "paper,amazon-toys,leave-one-out,sasrec,ce,,ndcg@10,0.05",
        "paper,amazon-beauty,temporal 0.95,sasrec,ce,,ndcg@10,0.05",
        "paper,amazon-beauty,leave-one-out,sasrec,ce,,map@10,0.05",
    )
    assert unmatched(ledger, file) == [
        "amazon-beauty, sasrec, rece, ndcg@10: no run with that loss",
        "amazon-beauty, gru4rec, ce, ndcg@10: no run of that model",
        "amazon-toys, sasrec, ce, ndcg@10: no run on that data set",
        "amazon-beauty, sasrec, ce, ndcg@10: another protocol: theirs 'temporal 0.95', "
        "ours 'leave-one-out, seen excluded'",
        "amazon-beauty, sasrec, ce, map@10: no such metric in the ledger",
    ]


@pytest.mark.parametrize("metric", ["recall@20", "hr@20"])
def test_recall_is_the_hit_rate_where_a_list_has_one_target(fake, ledger, published, metric):
    """Older ledgers hold no recall."""
    one = made(fake, 0, loss="dense_ce")
    own = Metric(split="test", epoch=1, name=metric.partition("@")[0], k=20, value=0.25)
    several = replace(made(fake, 1, loss="gbce"), metrics=(own,))
    protocol = "sessions 0.9, targets all, seen included"
    several = replace(several, run=replace(several.run, protocol=protocol))
    ledger.append([replace(one, metrics=(own,)), several])
    rows = compare(
        ledger,
        published(
            "p,amazon-beauty,leave-one-out,sasrec,ce,,recall@20,0.5",
            'p,amazon-beauty,"sessions, all targets",sasrec,gbce,,recall@20,0.5',
        ),
    ).to_pylist()
    found = {row["loss"]: row["ours"] for row in rows}
    assert found["ce"] == 0.25
    assert ("gbce" in found) == (metric == "recall@20")


def test_the_table_that_travels_along_names_a_source_for_every_figure(fake, ledger):
    with shipped_published().open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) > 400
    for line in lines:
        assert line["source"]
        assert line["protocol"]
        assert float(line["value"]) > 0
    ledger.append([made(fake, 0, loss="dense_ce")])
    assert compare(ledger, shipped_published()).num_rows > 0
    missing = unmatched(ledger, shipped_published(), own_data_only=True)
    assert missing
    assert all(line.startswith("amazon-beauty, ") for line in missing)


def test_the_study_names_the_file(fake, ledger):
    assert published_of(ledger) == shipped_published()
    when = fake.record().run.started_at
    ledger.add_study("one", "first", 'published = "theirs.csv"', when)
    assert str(published_of(ledger)) == "theirs.csv"


def test_seeds_on_other_threads_are_another_configuration(fake, ledger, published):
    """As in the view `configurations` and in `table`, which count one seed each."""
    runs = [made(fake, i, loss="cross_entropy", seed=i) for i in range(2)]
    runs[1] = replace(runs[1], environment=replace(runs[1].environment, threads=7))
    ledger.append(runs)
    file = published('paper,amazon-beauty,"leave-one-out, full ranking",sasrec,ce,,ndcg@10,0.05')
    (row,) = compare(ledger, file).to_pylist()
    assert (row["seeds"], row["spread"]) == (1, None)
    assert row["ours"] in [figure(run, "ndcg", 10) for run in runs]


def test_what_is_to_be_doubted_stands_beside_ours(fake, ledger, published):
    """A run of a few steps is no reproduction, and its ratio alone does not show that."""
    learned, rising = made(fake, 0, loss="dense_ce"), made(fake, 1, loss="bce", num_negatives=1)
    flat = [
        replace(m, value=0.1) if (m.split, m.name, m.k) == ("valid", "ndcg", 10) else m
        for m in learned.metrics
    ]
    ledger.append([replace(learned, metrics=tuple(flat)), rising])
    file = published(
        "p,amazon-beauty,,sasrec,ce,,ndcg@10,0.1", "p,amazon-beauty,,sasrec,bce,,ndcg@10,0.1"
    )
    notes = {row["our_loss"]: row["note"] for row in compare(ledger, file).to_pylist()}
    assert notes == {"dense_ce": "", "bce": "still rising when it ended"}


def test_another_number_of_negatives_is_said(fake, ledger, published):
    """The best of ours stands beside theirs, whatever its number of negatives."""
    ledger.append([made(fake, 0, loss="sampled_softmax", num_negatives=30)])
    settings = ("3000 negatives", '"3,000 negatives, batch 128"', "30 negatives", "tuned", "")
    metrics = ("ndcg@1", "ndcg@5", "ndcg@10", "ndcg@20", "hr@10")
    file = published(
        *(
            f"p,amazon-beauty,,sasrec,sampled_ce,{setting},{metric},0.1"
            for setting, metric in zip(settings, metrics, strict=True)
        )
    )
    rows = {row["metric"]: row for row in compare(ledger, file).to_pylist()}
    other = "theirs has 3,000 negatives, ours 30"
    wanted = dict(zip(metrics, (other, other, "", "", ""), strict=True))
    assert {metric: row["other_negatives"] for metric, row in rows.items()} == wanted


def test_metrics_without_a_row_for_one_reason_share_a_line_and_rows_go_by_k(
    fake, ledger, published
):
    ledger.append([made(fake, 0, loss="dense_ce")])
    metrics = ("ndcg@20", "ndcg@5", "ndcg@10")
    lines = [
        f"p,amazon-beauty,,{m},ce,,{metric},0.1"
        for m in ("sasrec", "gru4rec")
        for metric in metrics
    ]
    file = published(*lines)
    assert compare(ledger, file)["metric"].to_pylist() == ["ndcg@5", "ndcg@10", "ndcg@20"]
    assert unmatched(ledger, file) == [
        "amazon-beauty, gru4rec, ce, ndcg@20, ndcg@5, ndcg@10: no run of that model"
    ]
