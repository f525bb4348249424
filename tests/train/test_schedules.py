"""Step sizes grow in the warm-up, fall as the schedule says, and are those of the optimizers."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.optimizers.schedules import num_updates, share_of_rate


def test_shares_by_hand() -> None:
    warm = [share_of_rate("linear", update, 3, 7) for update in range(7)]
    assert warm == [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]
    cosine = [share_of_rate("cosine", update, 0, 4) for update in range(4)]
    assert cosine == pytest.approx([1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert {share_of_rate("constant", update, 0, 4) for update in range(9)} == {1.0}


@pytest.mark.parametrize("changes", [{}, {"train.accumulate": 3}, {"train.max_steps": 14}])
def test_the_number_of_updates_is_that_of_the_run(
    small: Callable[..., RunSpec], changes: dict[str, Any]
) -> None:
    spec = small(changes | {"train.epochs": 2})
    trainer = assemble(spec)
    assert trainer.fit().updates == num_updates(spec.train, trainer.loader.num_steps)


def test_both_optimizers_follow_their_schedules(small: Callable[..., RunSpec]) -> None:
    changes = {"train.schedule": "cosine", "train.table.schedule": "linear", "train.epochs": 1}
    changes |= {"train.learning_rate": 0.01, "train.table.learning_rate": 0.1}
    trainer = assemble(small(changes | {"train.warmup_updates": 2}))
    seen: list[tuple[float, float]] = []
    trainer.parts.optimizer.register_step_post_hook(
        lambda *_: seen.append(
            (
                trainer.parts.optimizer.param_groups[0]["lr"],
                trainer.parts.optimizers[1].param_groups[0]["lr"],
            )
        )
    )
    total = trainer.fit().updates
    assert len(seen) == total > 5
    for update, (encoder, table) in enumerate(seen):
        assert encoder == pytest.approx(0.01 * share_of_rate("cosine", update, 2, total))
        assert table == pytest.approx(0.1 * share_of_rate("linear", update, 2, total))
