"""Hold what `plan`, `profile` and `advise` return: dicts whose values are attributes too."""

from typing import Any, Generic, TypeVar, overload

from scalelab.core.memory_kinds import Sizes
from scalelab.core.units import format_bytes, format_range, format_seconds, format_share
from scalelab.notebook.html_table import html_table, paragraph

__all__ = ["Advice", "Plan", "Planned", "Profile"]

T = TypeVar("T")


class _Value(Generic[T]):
    """An attribute that is the value of the same name in the dict."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, document: None, owner: type) -> "_Value[T]": ...

    @overload
    def __get__(self, document: dict[str, Any], owner: type) -> T: ...

    def __get__(self, document: dict[str, Any] | None, owner: type) -> "T | _Value[T]":
        if document is None:
            return self
        try:
            return document[self._name]
        except KeyError:
            raise AttributeError(self._name) from None


class Planned(dict[str, Any]):
    """What one configuration would take. `planned["memory"]` and `planned.memory` are the same.

    With `solve` it also has `key`, `value`, `next_value` and `limited_by`.
    """

    label = _Value[str]()
    spec = _Value[dict[str, Any]]()
    device = _Value[str]()
    memory = _Value[dict[str, dict[str, int]]]()
    evaluation = _Value[dict[str, dict[str, int]]]()
    needed_bytes = _Value[int | None]()
    limit_bytes = _Value[int]()
    seconds = _Value[dict[str, dict[str, float] | None]]()
    fits = _Value[bool | None]()
    reason = _Value[str | None]()

    def _repr_html_(self) -> str:
        return Plan([self])._repr_html_()


class Plan(list[Planned]):
    """What each configuration would take, in the order of the study."""

    def to_pandas(self) -> Any:
        """A pandas DataFrame, one row a configuration. Raises MissingExtra."""
        return self._rows().to_pandas()

    def to_polars(self) -> Any:
        """A polars DataFrame, one row a configuration. Raises MissingExtra."""
        return self._rows().to_polars()

    def _rows(self) -> Any:
        from scalelab.notebook.rows import rows_of

        return rows_of([_flat(planned) for planned in self])

    def _repr_html_(self) -> str:
        """The configurations as the terminal ranks them, and the same sentence."""
        from scalelab.studies.plan_sentence import headroom_of, plan_sentence, ranked

        if not self:
            return paragraph("no configurations")
        solved = ["value"] if "value" in self[0] else []
        columns = ["configuration", *solved, "memory", "free", "evaluation", "per run"]
        rows = [_cells(one, headroom_of(one), solved) for one in ranked(self)]
        table = html_table(columns, rows, numbers=columns[1:])
        return table + paragraph(plan_sentence(self))


class Profile(dict[str, Any]):
    """What one run took. `profile["memory"]` and `profile.memory` are the same."""

    outcome = _Value[str]()
    phase = _Value[str | None]()
    error = _Value[str | None]()
    spec = _Value[dict[str, Any]]()
    metrics = _Value[dict[str, dict[str, float]]]()
    baselines = _Value[dict[str, dict[str, dict[str, float]]]]()
    memory = _Value[Sizes]()
    predicted = _Value[Sizes]()
    kinds = _Value[list[dict[str, Any]]]()
    time = _Value[dict[str, float | None]]()
    notes = _Value[list[str]]()
    epochs = _Value[int | None]()
    best_epoch = _Value[int | None]()
    files = _Value[dict[str, str]]()

    def _repr_html_(self) -> str:
        parts = [paragraph(f"outcome: {self.outcome}")]
        if self.error:
            parts.append(paragraph(self.error))
        kinds = ("train", "eval", "process", "adds")
        rows = [(r["kind"], *(_bytes(r[name]) for name in kinds), r["why"]) for r in self.kinds]
        columns = ("kind of memory", *kinds, "why")
        parts.append(html_table(columns, rows, numbers=kinds, title="Peaks of memory"))
        for stage, sizes in self.memory.items():
            found = {k: v for k, v in sizes.get("requested", {}).items() if v and k != "total"}
            if found:
                rows = [(k, format_bytes(found[k])) for k in sorted(found, key=lambda k: -found[k])]
                title = f"Requested bytes by component ({stage})"
                parts.append(
                    html_table(("component", "bytes"), rows, numbers={"bytes"}, title=title)
                )
        splits = list(self.metrics)
        names = dict.fromkeys(name for split in splits for name in self.metrics[split])
        rows = [(name, *(_figure(self.metrics[s].get(name)) for s in splits)) for name in names]
        if rows:
            parts.append(html_table(("metric", *splits), rows, numbers=splits))
        took = self.time.get("train_s")
        if took is not None:
            parts.append(paragraph(f"training took {format_seconds(took)}"))
        return "".join([*parts, *map(paragraph, self.notes)])


class Advice(dict[str, Any]):
    """Which configurations are worth a comparison, and the study that compares them."""

    configurations = _Value[Plan]()
    study = _Value[dict[str, Any]]()
    sentence = _Value[str]()
    next = _Value[list[str]]()

    def _repr_html_(self) -> str:
        chosen = Plan(one for one in self.configurations if one["chosen"])
        columns = ["configuration", "memory", "free", "evaluation", "per run"]
        from scalelab.studies.plan_sentence import headroom_of

        rows = [_cells(one, headroom_of(one), []) for one in chosen]
        commands = "".join(paragraph(f"Next: {command}") for command in self.next)
        table = html_table(columns, rows, numbers=columns[1:], title="Compared")
        return table + paragraph(self.sentence) + commands


def _cells(one: dict[str, Any], headroom: float | None, solved: list[str]) -> list[str]:
    fits = {True: "", False: "too large", None: "unknown"}[one["fits"]]
    seconds = one["seconds"]
    return [
        one["label"] or "this run",
        *("" if one[name] is None else f"{one[name]:,}" for name in solved),
        _bytes(one["needed_bytes"]),
        fits if headroom is None else format_share(headroom),
        *(format_range(**seconds[name]) if seconds[name] else "" for name in ("evaluation", "run")),
    ]


def _flat(one: dict[str, Any]) -> dict[str, Any]:
    """The figures of a document as one row, its names as in the document."""
    row = {name: one[name] for name in ("label", "device", "fits", "needed_bytes", "limit_bytes")}
    row |= {name: one[name] for name in ("key", "value") if name in one}
    for stage in ("memory", "evaluation"):
        for kind, sizes in one[stage].items():
            row[f"{stage}_{kind}_bytes"] = sizes.get("total")
    for name, span in one["seconds"].items():
        for end in ("low", "high"):
            row[f"{name}_{end}_s"] = None if span is None else span[end]
    return row | {"reason": one["reason"]}


def _bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
