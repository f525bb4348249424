"""The fused kernels against float64, in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("triton", reason="the extra triton is not installed")
# What numpy from 2.4 on says to the interpreter of Triton 3.6, which takes int() of an array of
# one number.
NUMPY_TOO_NEW = "only 0-dimensional arrays can be converted to Python scalars"
SCRIPT = Path(__file__).with_name("interpreted.py")


@pytest.fixture(scope="module")
def cases():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True
    )
    if done.returncode and NUMPY_TOO_NEW in done.stderr:
        pytest.skip("this version of Triton interprets with numpy before 2.4 only")
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_case_is_there(cases):
    assert len(cases) == 88


def test_losses_agree_with_float64(cases):
    assert max(case["loss"] for case in cases) < 5e-6


def test_gradients_in_float32_agree_to_a_millionth(cases):
    full = [case for case in cases if "float32" in case["case"]]
    assert max(max(case["hidden"], case["table"]) for case in full) < 1e-6


def test_gradients_in_16_bits_err_no_more_than_their_rounding(cases):
    half = [case for case in cases if "float16" in case["case"]]
    assert max(max(case["hidden"], case["table"]) for case in half) < 1e-3


def test_the_padding_row_gets_no_gradient(cases):
    assert [case["case"] for case in cases if case["padding"] != 0] == []


def test_two_runs_give_the_same_bits(cases):
    assert all(case["same"] for case in cases)
