"""A chart has a line at a limit only where all studies of its ledger give the same one."""

import pyarrow as pa
import pytest

from scalelab.reporting.budgets import budgets_of


class Studies:
    """The specs of some studies, as a ledger returns them."""

    def __init__(self, *specs):
        self.specs = specs

    def query(self, sql, parameters):
        return pa.table({"spec_toml": pa.array(self.specs, pa.string())})


BUDGET = '[budget]\nmemory = "{}"\ntime = "{}"'
SAME = BUDGET.format("8GiB", "2h")


@pytest.mark.parametrize(
    ("specs", "found"),
    [
        ([], {}),
        ([SAME], {"memory": 8 * 2**30, "time": 7200.0}),
        ([SAME, SAME], {"memory": 8 * 2**30, "time": 7200.0}),
        ([SAME, BUDGET.format("8GiB", "3h")], {"memory": 8 * 2**30}),
        ([SAME, 'base = "x"'], {}),
        (["[budget]\nmemory = '1MiB'"], {"memory": 2**20}),
        ([SAME, "no toml ["], {}),
        ([BUDGET.format("8GiB", "3parsecs")], {}),
    ],
)
def test_only_a_limit_that_all_share_is_drawn(specs, found):
    assert budgets_of(Studies(*specs), None) == found
