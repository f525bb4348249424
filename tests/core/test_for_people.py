"""Values of the ledger get the unit that the name of their column tells."""

from datetime import datetime

import pytest

from scalelab.core.for_people import with_unit

COMPONENTS = ("run_id", "kind", "item_table", "optimizer_state", "activations", "further")


@pytest.mark.parametrize(
    ("name", "value", "columns", "text"),
    [
        ("peak_bytes", 3 * 2**30, (), "3 GiB"),
        ("bytes", 0, (), "0 B"),
        ("activations", 2**20, COMPONENTS, "1 MiB"),
        ("activations", 2**20, ("activations",), "1048576"),
        ("run_id", 12, COMPONENTS, "12"),
        ("train_s", 90.0, (), "1m 30s"),
        ("train_s_std", 90, (), "1m 30s"),
        ("tokens_per_s", 90.0, (), "90"),
        ("valid_ndcg_10", 0.123456, (), "0.1235"),
        ("test_quality", 0.0, (), "0.0000"),
        ("learning_rate", 0.00012345678, (), "0.000123457"),
        ("num_items", 5, (), "5"),
        ("is_best", True, (), "True"),
        ("peak_bytes", None, (), ""),
        ("started_at", datetime(2026, 1, 2, 3, 4, 5, 6), (), "2026-01-02 03:04:05"),
    ],
)
def test_a_value_has_the_unit_of_its_column(name, value, columns, text):
    assert with_unit(name, value, columns) == text
