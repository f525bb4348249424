from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.core.units import MIB
from scalelab.measure.passes import evaluation_pass, training_pass
from scalelab.planning.devices import load_device
from scalelab.planning.solve import solve
from scalelab.train.assemble import assemble

Small = Callable[[dict[str, Any]], RunSpec]


def _measured(spec: RunSpec) -> int:
    trainer = assemble(spec)
    return max(training_pass(trainer)[0].peak_bytes, evaluation_pass(trainer)[0].peak_bytes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "changes", "budget"),
    [
        ("batch.size", {"loss.name": "dense_ce"}, 40 * MIB),
        ("negatives.num_negatives", {"loss.name": "bce"}, 30 * MIB),
        ("data.num_items", {"loss.name": "bce"}, 30 * MIB),
        ("model.hidden_dim", {"loss.name": "bce", "batch.size": 16}, 20 * MIB),
    ],
)
def test_the_answer_fits_and_the_next_does_not(
    key: str, changes: dict[str, Any], budget: int, small: Small
) -> None:
    spec = small(changes)
    found = solve(spec, key, load_device("cpu"), budget_bytes=budget)
    assert found.next_value is not None
    assert _measured(spec.with_({key: found.value})) <= budget
    assert _measured(spec.with_({key: found.next_value})) > budget


@pytest.mark.slow
def test_a_key_may_have_no_end(small: Small) -> None:
    found = solve(small({"loss.name": "bce"}), "batch.size", load_device("a100-80"))
    # More sequences than users there cannot be.
    assert (found.value, found.next_value) == (400, None)


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("batch.sise", {}, "batch.sise"),
        ("train.seed", {}, "train.seed"),
        ("negatives.num_negatives", {"loss.name": "cross_entropy"}, "no negatives"),
        ("model.inner_dim", {"model.name": "gru4rec"}, "inner_dim"),
    ],
)
def test_a_key_that_cannot_be_solved_for_is_one_clear_line(
    key: str, changes: dict[str, Any], message: str, small: Small
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        solve(small(changes), key, load_device("cpu"))
    assert caught.value.hint


@pytest.mark.slow
def test_a_budget_below_everything_says_so(small: Small) -> None:
    with pytest.raises(SpecError, match="nothing fits"):
        solve(small({}), "batch.size", load_device("cpu"), budget_bytes=MIB)
