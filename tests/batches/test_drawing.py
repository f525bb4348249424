"""Sources that contradict themselves are refused."""

import pytest

from scalelab.batches.drawing import check_negatives
from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.spec import NegativesSpec


@pytest.mark.parametrize("name", plugins.available("negatives"))
def test_draws_per_batch_cannot_reject(name):
    with pytest.raises(SpecError, match="cannot reject"):
        check_negatives((NegativesSpec(name=name, per="batch", reject=True),), 10)


def test_in_batch_draws_need_two_sequences():
    for per in ("position", "sequence"):
        with pytest.raises(SpecError, match="one sequence"):
            check_negatives((NegativesSpec(name="in_batch", per=per),), 1)
    check_negatives((NegativesSpec(name="in_batch", per="batch"),), 1)
