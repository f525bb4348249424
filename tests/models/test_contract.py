"""The laws of every model: found by name, so that a new file is under test at once."""

from scalelab.core import plugins
from scalelab.testing import ModelContract

NAMES = plugins.available("models")

for _name in NAMES:
    _contract = type(f"Test_{_name}", (ModelContract,), {"model": plugins.load("models", _name)})
    globals()[_contract.__name__] = _contract


def test_every_model_is_under_contract() -> None:
    assert len(NAMES) >= 4
    assert all(f"Test_{name}" in globals() for name in NAMES)
