"""A bar says by which metric the quality is that it shows."""

from typing import Any

import pytest

from scalelab.core.events import Progress
from scalelab.notebook import progress


class Bar:
    """Keep the last text instead of showing it."""

    total, n, shown = None, 0, ""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self.shown = text or self.shown

    def update(self, number: int = 1) -> None: ...

    def refresh(self) -> None: ...

    def close(self) -> None: ...


def test_the_metric_is_that_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar()
    monkeypatch.setattr(progress, "_bar", lambda **options: bar)
    facts: dict[str, Any] = {"run_id": "r", "phase": "train", "epoch": 1, "epochs": 3, "step": 1}
    facts |= {"num_steps": 1, "loss": None, "metric": 0.25, "best_metric": 0.25}
    facts |= {"popularity": None, "used_bytes": None, "tokens_per_s": None}
    now = Progress(**facts, metric_key="mrr@20")
    progress.SweepBar().on_progress(now)
    assert bar.shown == "r: epoch 1/3, MRR@20 0.2500"
    with progress.profile_bar() as report:
        report(now)
    assert bar.shown == "train, MRR@20 0.2500"
