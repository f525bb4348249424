"""What every probe keeps: it hears a run, changes no number, and gives no zero for nothing."""

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble

SETTINGS = {
    "data.num_users": 120,
    "data.num_items": 300,
    "data.max_length": 40,
    "batch.size": 32,
    "model.hidden_dim": 16,
    "train.epochs": 2,
    "device.name": "cpu",
}


@pytest.mark.parametrize("name", plugins.available("probes"))
def test_a_probe_listens_and_changes_nothing(name: str) -> None:
    spec = RunSpec.load("sasrec-synthetic", SETTINGS)
    expected = assemble(spec).fit().history
    probe = plugins.load("probes", name)()
    trainer = assemble(spec)
    probe.open(torch.device("cpu"), lambda: 1.0)
    with trainer.observed_by([probe]):
        history = trainer.fit().history
    probe.close()
    assert history == expected
    assert probe.name == name
    assert all(sample.probe == name and sample.unit for sample in probe.samples)
    for row in probe.memory():
        assert (row.bytes is None) == bool(row.reason)
        assert row.bytes != 0
