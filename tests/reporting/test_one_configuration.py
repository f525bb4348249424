"""Every mark is one configuration, or the mean over its seeds: checked against SQL."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from scalelab.findings.differences import KEY, settings_of
from scalelab.reporting.charts.breakdown import Breakdown
from scalelab.reporting.charts.kinds import Kinds
from scalelab.reporting.charts.pareto import Pareto
from scalelab.reporting.charts.prediction import Prediction
from scalelab.reporting.charts.scaling import Scaling
from scalelab.store.ledger import Ledger

# One configuration, and others that each differ from it in one setting.
BASE = {"loss": "rece", "batch_size": 128, "num_items": 10_000}
VARIED = [
    {},
    {"loss.rounds": 4},
    {"loss.n_chunks": 7},
    {"loss.n_extra_chunks": 3},
    {"loss.train_on": "last"},
    {"model.name": "gru4rec"},
    {"model.num_blocks": 3},
    {"hidden_dim": 128},
    {"max_len": 200},
    {"batch_size": 32},
    {"batch_size": 512},
    {"num_items": 100_000},
    {"num_items": 100_000, "loss.rounds": 4},
    {"num_items": 1_000_000},
    {"train.learning_rate": 0.01},
    {"device.threads": 8},
    {"loss": "bce", "num_negatives": 16},
    {"loss": "bce", "num_negatives": 256},
    {"loss": "bce", "num_negatives": 256, "batch_size": 32},
    {"loss": "dense_ce"},
]


def made(fake, index, seed, varied):
    """A record with these settings, whose bytes, seconds and qualities are its own."""
    known = {key: value for key, value in varied.items() if "." not in key}
    further = {key: value for key, value in varied.items() if "." in key}
    record = fake.record(index=index, seed=seed, **BASE | known)
    spec = json.loads(record.run.spec)
    if record.run.loss == "rece":
        spec["loss"] |= {"rounds": 1, "n_chunks": 2, "n_extra_chunks": 1}
    spec["loss"]["train_on"] = spec["loss"].pop("positions", spec["loss"].get("train_on"))
    spec["model"]["num_blocks"] = 2
    for key, value in further.items():
        section, name = key.split(".")
        spec[section][name] = value
    text = json.dumps(spec, sort_keys=True)
    run = replace(
        record.run,
        spec=text,
        fingerprint=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        model=spec["model"]["name"],
        train_s=record.run.train_s * (1 + index / 100),
    )
    memory = tuple(
        row if row.bytes is None else replace(row, bytes=row.bytes * (100 + index) // 100)
        for row in record.memory
    )
    return replace(record, run=run, memory=memory)


@pytest.fixture(scope="module")
def varied(fake, tmp_path_factory):
    """A ledger in which everything varies, two seeds of each configuration."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("varied") / "varied.duckdb")
    records = [
        made(fake, 2 * number + seed, seed, settings)
        for number, settings in enumerate(VARIED)
        for seed in (0, 1)
    ]
    # An older attempt of the first run: it counts no more.
    first = records[0]
    old = replace(first.run, run_id="old", attempt=0, train_s=9e6)
    records.append(
        replace(
            first,
            run=old,
            memory=tuple(
                row if row.bytes is None else replace(row, bytes=10 * row.bytes)
                for row in first.memory
            ),
        )
    )
    ledger.append(records)
    return ledger


@pytest.fixture(scope="module")
def runs(varied):
    """The runs that count, by what names their configuration."""
    found = {}
    for row in varied.query("SELECT * FROM results WHERE run_id <> 'old'").to_pylist():
        found.setdefault(tuple(row[name] for name in KEY), []).append(row)
    assert len(found) == len(VARIED)
    assert all(len(rows) == 2 for rows in found.values())
    return found


def key(row):
    return tuple(row[name] for name in KEY)


def mean(rows, name):
    return sum(row[name] for row in rows) / len(rows)


@pytest.mark.slow
def test_a_bar_of_the_breakdown_is_the_mean_over_the_seeds_of_one_configuration(varied, runs):
    rows = Breakdown(source="both").rows(varied).to_pylist()
    seen = {}
    for row in rows:
        ids = ", ".join(f"'{run['run_id']}'" for run in runs[key(row)])
        wanted = varied.query(
            "SELECT sum(bytes) / 2 AS bytes FROM memory WHERE stage = 'train' AND "
            f"kind = 'requested' AND component = '{row['component']}' AND "
            f"source = '{row['source']}' AND run_id IN ({ids})"
        ).to_pylist()[0]["bytes"]
        assert row["bytes"] == pytest.approx(wanted, abs=0.5)
        assert row["num_seeds"] == 2
        assert "(2 seeds)" in row["named"]
        seen.setdefault((key(row), row["source"]), []).append(row)
    assert len(seen) == 2 * len(VARIED)
    for (configuration, source), parts in seen.items():
        assert parts[0]["total"] == sum(part["bytes"] for part in parts)
        if source == "measured":
            assert parts[0]["total"] == pytest.approx(
                mean(runs[configuration], "peak_bytes"), abs=9
            )


@pytest.mark.slow
@pytest.mark.parametrize("chart", [Breakdown(), Pareto(), Kinds(), Prediction()])
def test_no_two_configurations_have_one_label_on_the_same_data(varied, chart):
    rows = chart.rows(varied).to_pylist()
    labels = {}
    for row in rows:
        place = row.get("data") or row.get("comparison")
        labels.setdefault((place, row["label"]), set()).add(row["configuration"])
    assert all(len(found) == 1 for found in labels.values()), labels
    words = " ".join(label for _, label in labels)
    if not isinstance(chart, Kinds):  # it shows one run for each loss
        for said in ("4 rounds", "7 chunks", "3 neighbouring chunks", "train_on=last", "gru4rec",
                     "width 128", "length 200", "batch 512", "learning rate 0.01", "8 threads",
                     "3 blocks", "16 negatives"):  # fmt: skip
            assert said in words


def test_a_point_of_pareto_is_the_mean_over_the_seeds_of_one_configuration(varied, runs):
    rows = Pareto().rows(varied).to_pylist()
    assert len(rows) == len(VARIED)
    for row in rows:
        of_row = runs[key(row)]
        assert row["peak_bytes"] == pytest.approx(mean(of_row, "peak_bytes"), abs=0.5)
        assert row["train_s"] == pytest.approx(mean(of_row, "train_s"), rel=1e-12)
        for split in ("test", "valid"):
            wanted = mean(of_row, f"{split}_ndcg_10")
            assert row[f"{split}_quality"] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "by", ["num_items", "batch_size", "max_len", "hidden_dim", "num_negatives"]
)
def test_along_a_line_of_scaling_only_its_setting_varies(varied, runs, by):
    rows = Scaling(by=by).rows(varied).to_pylist()
    lines = {}
    for row in rows:
        of_row = runs[key(row)]
        assert row["peak_bytes"] == pytest.approx(mean(of_row, "peak_bytes"), abs=0.5)
        assert row["train_s"] == pytest.approx(mean(of_row, "train_s"), rel=1e-12)
        assert row["test_quality"] == pytest.approx(mean(of_row, "test_ndcg_10"), rel=1e-12)
        assert row["value"] == row[by]
        lines.setdefault((row["place"], row["line"]), []).append(row)
    assert rows
    for line in lines.values():
        assert len(line) > 1
        settings = [settings_of(runs[key(row)][0]["spec"]) for row in line]
        varying = {name for one in settings for name in one if one[name] != settings[0].get(name)}
        assert len(varying) == 1
        assert all(before["value"] < after["value"] for before, after in pairwise(line))
        if by == "num_items":
            assert all(a["peak_bytes"] < b["peak_bytes"] for a, b in pairwise(line))


@pytest.mark.slow
def test_the_charts_draw_what_their_rows_say(varied):
    """No aggregate inside a chart: Vega-Lite would average without a word."""
    for chart in (Breakdown(), Pareto(), Scaling(), Kinds(), Prediction()):
        text = json.dumps(chart.draw(chart.rows(varied)).to_dict())
        assert '"aggregate"' not in text
