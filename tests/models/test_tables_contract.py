"""The laws of every item table: found by name, so that a new file is under test at once."""

from scalelab.core import plugins
from scalelab.testing import TableContract

NAMES = plugins.available("tables")

for _name in NAMES:
    _contract = type(f"Test_{_name}", (TableContract,), {"table": plugins.load("tables", _name)})
    globals()[_contract.__name__] = _contract


def test_every_table_is_under_contract() -> None:
    assert {"full", "product_quantised"} <= set(NAMES)
    assert all(f"Test_{name}" in globals() for name in NAMES)
