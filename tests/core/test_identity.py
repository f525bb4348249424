"""Which runs are the same, and which are seeds of one configuration."""

import json

import pytest

from scalelab.core import identity
from scalelab.core.identity import RESULTS_VERSION, configuration_of, fingerprint_of
from scalelab.core.spec import RunSpec
from scalelab.studies.grid import Configuration

BASE = "sasrec-synthetic"


def both(changes, data="d", version=RESULTS_VERSION):
    tables = RunSpec.load(BASE, {"device.name": "cuda", **changes}).as_sections()
    return fingerprint_of(tables, data), configuration_of(tables, data, version)


@pytest.mark.parametrize(
    ("changes", "same_run", "same_configuration"),
    [
        ({}, True, True),
        ({"train.seed": 1}, False, True),
        ({"data.path": "/somewhere/else"}, True, True),
        ({"data.name": "called so"}, True, True),
        ({"device.name": "cuda:1"}, True, True),
        ({"device.name": "cpu"}, False, False),
        ({"device.threads": 3}, False, False),
        ({"batch.size": 77}, False, False),
        ({"loss.train_on": "last"}, False, False),
        ({"data.data_seed": 1}, False, False),
    ],
)
def test_what_decides_a_run_decides_its_configuration_but_for_the_seed(
    changes, same_run, same_configuration
):
    plain, changed = both({}), both(changes)
    assert (plain[0] == changed[0]) == same_run
    assert (plain[1] == changed[1]) == same_configuration


def test_other_data_make_another_run_and_another_configuration():
    plain, other = both({}), both({}, data="e")
    assert plain[0] != other[0]
    assert plain[1] != other[1]


def test_other_rules_make_another_run_and_another_configuration(monkeypatch):
    plain = both({})
    assert both({}, version=None)[1] != plain[1]
    monkeypatch.setattr(identity, "RESULTS_VERSION", RESULTS_VERSION + 1)
    assert both({})[0] != plain[0]


def test_before_the_data_are_known_their_place_stands_for_them():
    """The cells of a study that is only predicted."""

    def of(changes):
        return Configuration(spec=RunSpec.load(BASE, changes), label="").without_seed

    assert of({"train.seed": 4}) == of({})
    assert of({"data.path": "/a"}) != of({"data.path": "/b"})


def test_tables_are_left_as_they_were():
    tables = RunSpec.load(BASE, {"device.name": "cuda:1"}).as_sections()
    before = json.dumps(tables)
    configuration_of(tables, "d", 1)
    fingerprint_of(tables, "d")
    assert json.dumps(tables) == before
