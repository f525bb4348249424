"""Write the paragraph of methods of a study from its ledger: data, protocol, seeds, machine."""

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.figures import metric_name
from scalelab.core.units import format_bytes
from scalelab.findings.bootstrap import DRAWS, LEVEL, draws_for
from scalelab.findings.differences import settings_of
from scalelab.result_tables.bibtex import Source, sources_of
from scalelab.result_tables.candidates import study_ids
from scalelab.result_tables.rendering import escape_latex, escape_markdown
from scalelab.store.ledger import Ledger

__all__ = ["Methods", "methods_of"]

_RUNS = """
SELECT r.dataset, r.protocol, r.num_users, r.num_items, r.num_interactions, r.model, r.loss,
    r.configuration, r.seed, r.quality_metric, r.spec::VARCHAR AS spec, r.data_fingerprint, e.host,
    coalesce(e.device, r.device) AS device, e.device_bytes, e.driver, e.torch, e.python, e.scalelab,
    e."commit" AS revision, coalesce(e.threads, r.threads) AS threads, r.peak_kind,
    r.run_id IN (SELECT run_id FROM user_ranks) AS has_ranks
FROM results AS r LEFT JOIN environments AS e ON e.run_id = r.run_id
WHERE $ids IS NULL OR list_contains($ids, r.study_id) OR r.fingerprint IN (
    SELECT fingerprint FROM reused_runs WHERE list_contains($ids, reused_runs.study_id)
)
ORDER BY r.dataset, r.num_items, r.model, r.loss
"""
# Marks around the keys of a citation; no font has these characters.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SETTINGS = (
    ("train.optimizer", "optimizer {}"),
    ("train.learning_rate", "learning rate {}"),
    ("train.weight_decay", "weight decay {}"),
    ("batch.size", "batches of {} user sequences"),
    ("batch.max_len", "the last {} items of a history"),
    ("model.hidden_dim", "hidden width {}"),
    ("model.num_blocks", "{} blocks"),
    ("model.num_heads", "{} heads"),
    ("model.dropout", "dropout {}"),
    ("model.pretrain_epochs", "{} epochs of pre-training"),
    ("train.precision", "{} precision"),
)


@dataclass(frozen=True, kw_only=True)
class Methods:
    """The paragraph, the sources that it cites, and the parts of which no source is known."""

    text: str
    sources: tuple[Source, ...]
    without_source: tuple[str, ...]

    def as_format(self, format: str) -> str:
        """The paragraph as markdown, latex or html. Latex cites by key, the others by name."""
        escape: Callable[[str], str] = {
            "latex": escape_latex,
            "markdown": escape_markdown,
            "html": html.escape,
        }[format]
        pieces = re.split(f"{_OPEN}(.*?){_CLOSE}", self.text)
        # Every second piece is the keys of a citation.
        shown = [
            self._cited(piece, format, escape) if number % 2 else escape(piece)
            for number, piece in enumerate(pieces)
        ]
        text = "".join(shown)
        return f"<p>{text}</p>\n" if format == "html" else f"{text}\n"

    def _cited(self, keys: str, format: str, escape: Callable[[str], str]) -> str:
        if format == "latex":
            return rf"~\cite{{{keys}}}"
        names = {source.key: source.short for source in self.sources}
        return escape(f" ({'; '.join(names[key] for key in keys.split(','))})")


def methods_of(ledger: Ledger, study: str | None = None) -> Methods:
    """What the finished runs (of one study) did, in words. Raises SpecError for another study."""
    ids = None if study is None else study_ids(ledger, study)
    runs = ledger.query(_RUNS, {"ids": ids}).to_pylist()
    parts = [f"models.{name}" for name in _distinct(runs, "model")]
    parts += [f"losses.{name}" for name in _distinct(runs, "loss")]
    sources, without = sources_of(parts)
    return Methods(
        text=" ".join(_sentences(runs)) if runs else "No run has finished.",
        sources=tuple(sources),
        without_source=tuple(without),
    )


def _sentences(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield _data(runs)
    yield _protocol(runs)
    yield (
        f"We trained {_named(runs, 'model', 'models')} with {_named(runs, 'loss', 'losses')}: "
        f"{_count(len(_distinct(runs, 'configuration')), 'configuration')} in "
        f"{_count(len(runs), 'run')}."
    )
    yield _training(runs)
    yield _seeds(runs)
    yield (
        f"The weights with the best {_kept_by(runs)} on the validation split were kept. "
        "All choices between configurations were made on validation; we report test results."
    )
    yield from _tests(runs)
    yield from _machine(runs)


def _kept_by(runs: Sequence[dict[str, Any]]) -> str:
    """The metric that chose the epoch."""
    return _or([metric_name(key) for key in _distinct(runs, "quality_metric")])


def _tests(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    configurations = len(_distinct(runs, "configuration"))
    if configurations > 1 and all(run["has_ranks"] for run in runs):
        most = draws_for(configurations - 1)
        number = f"{DRAWS:,}" if most == DRAWS else f"{DRAWS:,} to {most:,}"
        yield (
            "Differences to the first on validation were tested by a paired bootstrap over the "
            f"test users ({number} drawings) with Holm's correction, at p < {LEVEL:g}."
        )


def _data(runs: Sequence[dict[str, Any]]) -> str:
    found = {run["data_fingerprint"]: run for run in runs}
    texts = [
        f"{run['dataset']} ({run['num_users'] or 0:,} users, {run['num_items'] or 0:,} items, "
        f"{run['num_interactions'] or 0:,} interactions)"
        for run in found.values()
    ]
    return f"We used {_and(texts)}."


def _protocol(runs: Sequence[dict[str, Any]]) -> str:
    protocols = _distinct(runs, "protocol")
    return (
        f"The split and the filters were: {'; or '.join(protocols)}. Each target was ranked among "
        "all items of the catalog, without sampled metrics."
    )


def _training(runs: Sequence[dict[str, Any]]) -> str:
    settings = [settings_of(run["spec"]) for run in runs]
    texts: list[str] = []
    for key, words in _SETTINGS:
        values = sorted({one[key] for one in settings if one.get(key) is not None}, key=_order)
        if values and values != [0] and values != [0.0]:
            texts.append(_filled(words, values))
    if negatives := sorted({numbers for one in settings if (numbers := _negatives(one))}):
        sums = [" + ".join(map(_number, numbers)) for numbers in negatives]
        texts.append(f"{_or(sums)} negatives where a loss samples them")
    return f"Settings: {', '.join(texts)}; {_end_of_training(settings)}."


def _negatives(one: Mapping[str, Any]) -> tuple[int, ...]:
    """The number of negatives of each source."""
    keys = sorted(key for key in one if re.fullmatch(r"negatives\.\d+\.num_negatives", key))
    return tuple(one[key] for key in keys if one[key] is not None)


def _end_of_training(settings: Sequence[dict[str, Any]]) -> str:
    epochs = sorted({one["train.epochs"] for one in settings if "train.epochs" in one})
    text = _filled("at most {} epochs", epochs)
    patience = sorted({one["train.patience"] for one in settings if one.get("train.patience")})
    if patience:
        text += _filled(", ended after {} evaluations without improvement", patience)
    steps = sorted({one["train.max_steps"] for one in settings if one.get("train.max_steps")})
    if steps:
        text += _filled(", and at most {} steps", steps)
    return text


def _seeds(runs: Sequence[dict[str, Any]]) -> str:
    by_configuration: dict[tuple[Any, ...], set[int]] = {}
    for run in runs:
        key = (run["configuration"], run["device"], run["threads"])
        by_configuration.setdefault(key, set()).add(run["seed"])
    numbers = sorted({len(seeds) for seeds in by_configuration.values()})
    named = ", ".join(map(str, _distinct(runs, "seed")))
    if numbers == [1]:
        return f"Each configuration was trained with one seed ({named})."
    count = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return (
        f"Each configuration was trained with {count} seeds ({named}); we report the mean and the "
        "sample standard deviation."
    )


def _machine(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    devices = {
        (run["device"], run["device_bytes"], run["threads"]): None
        for run in runs
        if run["device"] is not None
    }
    if devices:
        texts = [
            f"{device}{f' with {format_bytes(size)}' if size else ''} ({_count(threads, 'thread')})"
            for device, size, threads in devices
        ]
        yield f"Runs took place on {_and(texts)}."
    kinds = {"allocated": "allocated by the CUDA allocator", "requested": "of live tensors"}
    words = [kinds[kind] for kind in _distinct(runs, "peak_kind")]
    yield f"Memory is the largest number of bytes {' or '.join(words)} in a training step."
    versions = [
        f"{name} {' and '.join(map(str, found))}"
        for name, column in (("scalelab", "scalelab"), ("PyTorch", "torch"), ("Python", "python"))
        if (found := _distinct(runs, column))
    ]
    if versions:
        yield f"Software: {', '.join(versions)}."


def _named(runs: Sequence[dict[str, Any]], column: str, kind: str) -> str:
    texts: list[str] = []
    for name in _distinct(runs, column):
        sources, _ = sources_of([f"{kind}.{name}"])
        keys = ",".join(source.key for source in sources)
        texts.append(f"{name}{_OPEN}{keys}{_CLOSE}" if keys else str(name))
    return _and(texts)


def _distinct(runs: Sequence[dict[str, Any]], column: str) -> list[Any]:
    return sorted({run[column] for run in runs if run[column] is not None}, key=_order)


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _or(values: Sequence[Any]) -> str:
    *some, last = map(_number, values)
    return f"{', '.join(some)} or {last}" if some else last


def _filled(words: str, values: Sequence[Any]) -> str:
    """`words` with the values in place of {}; the noun after a lone 1 loses its s."""
    if values == [1]:
        words = re.sub(r"(\{\} \w+)s\b", r"\1", words)
    return words.format(_or(values))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _and(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
