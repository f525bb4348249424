"""Keys and options that came later leave the fingerprints of old runs as they were."""

import pytest

from scalelab.core import identity
from scalelab.core.spec import RunSpec

# Of results version 3, made before any of these keys was there.
FINGERPRINTS = {
    (): "aea86cd30a8e05f2",
    (("loss.name", "bce"),): "51d12b5028a905a8",
    (("loss.name", "sampled_softmax"),): "7a91d99353d5c371",
    (("loss.name", "gbce"),): "49b35383cd57c838",
    (("model.name", "bert4rec"),): "fbf45a61ad261040",
    (("loss.name", "top1_max"),): "b11d68cb9f4d5f88",
    (("loss.name", "rece"),): "d8d482c8f2598cb5",
}


@pytest.mark.parametrize("changes", FINGERPRINTS)
def test_a_run_that_uses_no_later_key_keeps_its_fingerprint(changes, monkeypatch):
    monkeypatch.setattr(identity, "RESULTS_VERSION", 3)
    spec = RunSpec.load("sasrec-synthetic", {"device.name": "cpu", **dict(changes)})
    assert spec.fingerprint("d") == FINGERPRINTS[changes]


def test_so_does_a_run_on_a_file(monkeypatch):
    monkeypatch.setattr(identity, "RESULTS_VERSION", 3)
    spec = RunSpec.load("sasrec-beauty", {"device.name": "cpu"})
    assert spec.fingerprint("d") == "e0b6f32cadeb8fd8"
    for key, value in (("data.escape", "backslash"), ("data.items", "one")):
        assert spec.with_({key: value}).fingerprint("d") != "e0b6f32cadeb8fd8"


@pytest.mark.parametrize(
    "changes",
    [
        {"loss.name": "bce", "loss.top_k": 8},
        {"loss.name": "sampled_softmax", "loss.cosine": True},
        {"loss.name": "sampled_softmax", "loss.logq": 1.0, "loss.logq_of": "mixture"},
        {"model.positions": "relative"},
        {"model.name": "bert4rec", "model.mask_last_prob": 0.1},
        {"evaluate.positions": 3},
        {"data.split": "global_time", "data.targets": "all"},
    ],
)
def test_one_that_does_has_another_and_comes_back_from_its_sections(changes):
    spec = RunSpec.load("sasrec-synthetic", {"device.name": "cpu", **changes})
    assert RunSpec.build(spec.as_sections()) == spec
    plain = dict(list(changes.items())[:1]) if len(changes) > 1 else {}
    plain = {key: value for key, value in plain.items() if key.endswith((".name", ".split"))}
    other = RunSpec.load("sasrec-synthetic", {"device.name": "cpu", **plain})
    assert spec.fingerprint("d") != other.fingerprint("d")
