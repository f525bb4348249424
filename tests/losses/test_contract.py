"""The laws of every loss: found by name, so that a new file is under test at once."""

from importlib.util import find_spec

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.losses import Loss
from scalelab.testing import LossContract
from scalelab.testing.loss_problem import problem

CUDA_ONLY = {"cut_ce": "cut_cross_entropy", "liger_ce": "liger_kernel"}
SMALL = {"sce": {"bucket_size_y": 16}, "rece": {"n_buckets": 4, "rounds": 2}}
NAMES = [name for name in plugins.available("losses") if name not in CUDA_ONLY]
# Of torch itself: its type and its graph are not ours to promise.
PLAIN = {"linear_ce", "dense_ce"}


def contract_of(name: str) -> type[LossContract]:
    """The contract as it concerns the loss called `name`."""

    class TestLoss(LossContract):
        each_position_alone = name not in {"rece", "sce"}  # test_rece and test_sce compare them
        blind_to_padding = name != "rece"
        value_is_float32 = name != "linear_ce"
        gradient_in_forward = name not in PLAIN

        @pytest.fixture
        def part(self) -> Loss:
            if name == "linear_ce" and not hasattr(torch.nn.functional, "linear_cross_entropy"):
                pytest.skip("linear_ce needs torch 2.13")
            try:
                return plugins.made("losses", name, **SMALL.get(name, {}))
            except MissingExtra as missing:
                pytest.skip(str(missing))

    TestLoss.__qualname__ = TestLoss.__name__ = f"Test_{name}"
    return TestLoss


for _name in NAMES:
    globals()[f"Test_{_name}"] = contract_of(_name)


def test_every_loss_is_under_contract() -> None:
    assert len(NAMES) >= 12
    assert all(f"Test_{name}" in globals() for name in NAMES)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # what they import and compile may warn
@pytest.mark.parametrize("name", CUDA_ONLY)
def test_an_external_implementation_gives_finite_gradients(name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    if find_spec(CUDA_ONLY[name]) is None:
        pytest.skip(f"the package {CUDA_ONLY[name]} is not installed")
    hidden_ND, items_VD, batch = problem("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        value = plugins.load("losses", name)()(hidden_ND, items_VD, batch)
    value.backward()
    for each in (value, hidden_ND.grad, items_VD.grad):
        assert torch.isfinite(each).all()
    assert hidden_ND.grad.any()
    assert items_VD.grad.any()
