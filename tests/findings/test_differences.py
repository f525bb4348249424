"""How configurations are named by the settings in which they differ."""

import json

from scalelab.findings.differences import KEY, describe, labels, settings_of


def settings(loss="bce", size=32, negatives=(16,), **further):
    spec = {
        "data": {"reader": "synthetic", "path": "a"},
        "batch": {"size": size, "max_len": 50},
        "negatives": [{"name": "uniform", "num_negatives": count} for count in negatives],
        "model": {"name": "sasrec", "dropout": 0.1},
        "loss": {"name": loss},
        "train": {"seed": 3, "epochs": 5},
    }
    for key, value in further.items():
        section, name = key.split("__")
        spec[section][name] = value
    return settings_of(json.dumps(spec))


def test_seed_and_path_are_no_settings():
    assert {"train.seed", "data.path"}.isdisjoint(settings())
    assert settings()["negatives.0.num_negatives"] == 16


def test_loss_negatives_and_batch_are_always_named():
    assert labels([settings()]) == (["bce, 16 negatives, batch 32"], "")
    assert labels([settings(negatives=(1,))])[0] == ["bce, 1 negative, batch 32"]
    assert labels([settings(negatives=())])[0] == ["bce, batch 32"]
    assert labels([settings(negatives=(64, 8))])[0] == ["bce, 64 + 8 negatives, batch 32"]


def test_a_value_of_the_most_is_named_once():
    found = [settings(), settings(size=64), settings(train__epochs=9)]
    names, usual = labels(found)
    assert names == [
        "bce, 16 negatives, batch 32",
        "bce, 16 negatives, batch 64",
        "bce, 16 negatives, 9 epochs, batch 32",
    ]
    assert usual == "5 epochs"


def test_patience_is_named_in_words():
    found = [settings(train__patience=1), settings(train__patience=2)]
    assert [name.split(", ")[2] for name in labels(found)[0]] == ["patience 1", "patience 2"]


def test_of_two_equally_common_values_both_are_named():
    names, usual = labels([settings(model__dropout=0.1), settings(model__dropout=0.5)])
    assert names == [
        "bce, 16 negatives, dropout=0.1, batch 32",
        "bce, 16 negatives, dropout=0.5, batch 32",
    ]
    assert usual == ""


def test_an_option_of_a_loss_is_compared_within_that_loss():
    names, _ = labels([settings("bce", loss__reduction="mean"), settings("rece", loss__rounds=1)])
    assert names == ["bce, 16 negatives, batch 32", "rece, 16 negatives, batch 32"]
    names, _ = labels([settings("rece", loss__rounds=1), settings("rece", loss__rounds=4)])
    assert names == [
        "rece, 1 round, 16 negatives, batch 32",
        "rece, 4 rounds, 16 negatives, batch 32",
    ]


def test_a_source_is_compared_within_the_part_that_has_it():
    s3rec = settings(model__name="s3rec") | {"sources.attributes": "abc"}
    own_loss = settings("my") | {"sources.loss": "123"}
    names, _ = labels([settings(), s3rec, own_loss])
    assert [name.split(", batch")[0] for name in names] == [
        "bce, 16 negatives",
        "s3rec, bce, 16 negatives",
        "my, 16 negatives",
    ]
    edited = s3rec | {"sources.attributes": "def"}
    names, _ = labels([settings(), s3rec, edited])
    assert ["attributes=" in name for name in names] == [False, True, True]


def test_what_only_one_has_tells_it_apart():
    names, _ = labels([settings(), settings(loss__top_k=100)])
    assert len(set(names)) == 2
    assert names[1] == "bce, top_k=100, 16 negatives, batch 32"


def row(spec, **further):
    known = dict.fromkeys(KEY) | {"protocol": "p", "dataset": "d", "num_items": 10}
    return known | {"spec": json.dumps(spec)} | further


def test_labels_on_one_data_set_are_never_the_same():
    spec = {"loss": {"name": "bce"}, "batch": {"size": 32}, "data": {}}
    rows = [row(spec, configuration=name, device="cpu") for name in ("a", "b")]
    assert [one.label for one in describe(rows).values()] == [
        "bce, batch 32, id a",
        "bce, batch 32, id b",
    ]
    rows = [row(spec, configuration="a", device=device) for device in ("cpu", "gpu", None)]
    assert [one.label for one in describe(rows).values()] == [
        "bce, batch 32, cpu",
        "bce, batch 32, gpu",
        "bce, batch 32, not run",
    ]


def test_data_that_differ_are_named_apart():
    specs = [
        {"loss": {"name": "bce"}, "batch": {"size": 32}, "data": {"min_item_count": count}}
        for count in (2, 5)
    ]
    rows = [row(spec, configuration=str(number)) for number, spec in enumerate(specs)]
    rows.append(row(specs[0], configuration="0", results_version=3))
    assert [one.data for one in describe(rows).values()] == [
        "d, 10 items, min_item_count=2, p, results version unknown",
        "d, 10 items, min_item_count=5, p, results version unknown",
        "d, 10 items, min_item_count=2, p, results version 3",
    ]
