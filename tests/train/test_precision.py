"""fp32 means fp32, tf32 is asked for, and what torch was told before comes back."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalelab.core.errors import SpecError
from scalelab.core.events import Observer, Phase
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.losses import tf32_allowed
from scalelab.measure.session import run
from scalelab.train.assemble import assemble
from scalelab.train.precision import products_in


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_only_tf32_allows_tf32_also_in_recurrent_layers(precision: str) -> None:
    before = flags()
    with products_in(precision):
        assert flags() == (precision == "tf32",) * 2
        assert tf32_allowed() == (precision == "tf32")
        assert (torch.backends.cudnn.rnn.fp32_precision == "tf32") == (precision == "tf32")  # pyright: ignore
    assert flags() == before


def test_evaluation_is_in_fp32_whatever_training_is(small: Callable[..., RunSpec]) -> None:
    heard: dict[Phase, bool] = {}

    class Ears(Observer):
        def on_phase_end(self, phase: Phase) -> None:
            heard[phase] = tf32_allowed()

    trainer = assemble(small({"train.epochs": 1}))
    with products_in("tf32"), trainer.observed_by([Ears()]):
        trainer.fit()
    assert heard[Phase.FORWARD]
    assert heard[Phase.BACKWARD]
    scores: list[bool] = []
    forward = trainer.parts.model.forward

    def listening(*args: Any) -> Any:
        scores.append(tf32_allowed())
        return forward(*args)

    trainer.parts.model.forward = listening
    with products_in("tf32"):
        trainer.evaluate("test")
    assert set(scores) == {False}


def test_a_cpu_refuses_tf32_in_one_line(small: Callable[..., RunSpec]) -> None:
    spec = small({"train.precision": "tf32"})
    with pytest.raises(SpecError, match="tf32 exists on CUDA only"):
        run(spec, run_id="r", strict=True)
    record = run(spec, run_id="r")
    assert record.run.outcome is Outcome.FAILED
    assert record.run.error is not None
    assert record.run.error.endswith("set train.precision=fp32, or device.name=cuda")
