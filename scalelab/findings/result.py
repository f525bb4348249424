"""Define the answer of a ledger: sentences for people, and the numbers behind them."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NEXT", "Answer", "Pick", "Sentence", "as_html"]

# How a line with a command begins.
NEXT = "Next: "


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A configuration that the answer names: its settings, and means over its seeds.

    The qualities without a metric in their names are by the metric of the sentence.

    `p_value` is that of its difference to the best one over the test users, corrected for the
    number of comparisons; None for the best itself, and where no ranks are kept.
    """

    label: str
    configuration: str
    settings: Mapping[str, Any]
    seeds: int
    valid_quality: float
    test_quality: float
    test_quality_std: float | None
    valid_ndcg_10: float | None
    test_ndcg_10: float | None
    test_ndcg_10_std: float | None
    peak_bytes: int | None
    eval_peak_bytes: int | None
    train_s: float | None
    note: str
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """The answer for one data set, protocol and device. `text` is its clauses in their order.

    `metric` chose the epochs and the best: `evaluate.metric` of its runs, such as hr@20.

    `clauses` are by kind: best, cheaper, distance, unknown, left_out. `best` is the first on
    validation. `is_best` is False where ties, noise, zeros or baselines forbid to call it so.
    `equal` cannot be distinguished from it. `next` is a command that works when typed.
    """

    data: str
    metric: str
    text: str
    clauses: Mapping[str, str]
    is_best: bool
    best: Pick | None
    cheaper: Pick | None
    equal: tuple[Pick, ...]
    quality_ratio: float | None
    memory_ratio: float | None
    oracle_quality: float | None
    oracle_ndcg_10: float | None
    baseline: str | None
    baseline_quality: float | None
    baseline_ndcg_10: float | None
    test_users: int | None
    next: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Which configuration to take, in words: `text` is what terminal, page and notebook show."""

    ledger: str
    budget_bytes: int | None
    text: str
    sentences: tuple[Sentence, ...]

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return as_html(self)


def as_html(answer: Answer, *, on_page: bool = False) -> str:
    """The same words as `text`, as HTML: a paragraph a sentence, the commands as code.

    The page of a report leaves out the command that writes that page.
    """
    lines = []
    for line in answer.text.splitlines():
        if on_page and line.startswith(f"{NEXT}scalelab report"):
            continue
        if line.startswith(NEXT):
            code = html.escape(line.removeprefix(NEXT))
            lines.append(f"<p>{html.escape(NEXT)}<code>{code}</code></p>")
        else:
            lines.append(f"<p>{html.escape(line)}</p>")
    return f'<div class="answer">{"".join(lines)}</div>'
