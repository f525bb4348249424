"""The limits and the executor that the options of a sweep choose."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.limits import Limits
from scalelab.sweeping.choices import limits_of, made_executor


def test_a_budget_of_the_command_comes_before_the_studys(study) -> None:
    limited = study(budget={"memory": "2GiB", "time": "3m"})
    assert limits_of(limited, None) == Limits(memory_bytes=2 * 2**30, time_s=180)
    assert limits_of(limited, 2**20) == Limits(memory_bytes=2**20, time_s=180)
    assert limits_of(study(), None) == Limits(memory_bytes=None, time_s=None)


def test_only_an_executor_that_has_an_address_takes_one() -> None:
    with pytest.raises(SpecError, match="'inline' has no address"):
        made_executor("inline", 1, "somewhere:6379")
