"""A loss that is not finite stops a training, whichever of its numbers it is."""

import pytest
import torch

from scalelab.train.divergence import Diverged, must_be_finite


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_enough(value):
    with pytest.raises(Diverged, match="the loss is not finite at step 7"):
        must_be_finite(torch.tensor([1.0, value]), "step 7")


def test_large_finite_numbers_go_on():
    must_be_finite(torch.tensor([3e38, -3e38, 0.0]), "step 7")
