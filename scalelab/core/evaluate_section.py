"""Define the section evaluate of a run: which metrics are computed, and which one chooses."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from scalelab.core.figures import METRICS, QUALITY_K, QUALITY_KEY
from scalelab.core.toml_sections import Section

__all__ = ["EvaluateSpec"]


_Lengths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


def _is_metric(key: str) -> str:
    name, _, k = key.partition("@")
    if name not in METRICS or not k.isdigit() or int(k) < 1:
        raise ValueError(f"a metric is one of {', '.join(METRICS)} with a length, such as mrr@20")
    return f"{name}@{int(k)}"


def _as_lengths(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


class EvaluateSpec(Section, frozen=True):
    """Which figures of the rankings are computed, and which of them chooses."""

    k: Annotated[
        _Lengths,
        BeforeValidator(_as_lengths, json_schema_input_type=PositiveInt | _Lengths),
        AfterValidator(lambda ks: tuple(sorted(set(ks)))),
    ] = (1, 5, 10, 20)
    """Lengths of the lists whose metrics are stored; 10 and that of evaluate.metric always are."""
    metric: Annotated[str, AfterValidator(_is_metric)] = QUALITY_KEY
    """Validation metric that chooses epoch and configuration: ndcg, hr, recall or mrr, as hr@20."""

    positions: NonNegativeInt = 0
    """Training targets before the held-out ones that are ranked after training too; 0: none."""
    steps_ahead: NonNegativeInt = 0
    """Last items of each test history that are hidden and ranked one after the other; 0: none."""
    fed_back: bool = True
    """Whether a step ahead sees what the model itself ranked first, or the true items before."""

    @property
    def ks(self) -> tuple[int, ...]:
        """All lengths of lists that are evaluated, rising."""
        return tuple(sorted({*self.k, QUALITY_K, int(self.metric.partition("@")[2])}))
