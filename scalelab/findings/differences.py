"""Find the settings in which configurations differ, and describe each configuration by them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.figures import metric_name
from scalelab.core.identity import COMPARABLE_IN_TIME

__all__ = ["KEY", "Described", "Key", "Settings", "describe", "key_of", "labels", "settings_of"]

# The columns that name one row of the view `configurations`.
KEY = ("configuration", *COMPARABLE_IN_TIME)
Key = tuple[Any, ...]
# Settings by dotted key, such as batch.size or negatives.0.name.
Settings = dict[str, Any]
Row = Mapping[str, Any]
_Owner = tuple[str, Any] | None

# A seed distinguishes runs of one configuration; a path says where the data lie, not what they are.
_IGNORED = ("train.seed", "data.path")
_WORDS = {
    "model.name": "{}",
    "model.hidden_dim": "width {}",
    "model.num_blocks": "{} blocks",
    "model.num_heads": "{} heads",
    "batch.size": "batch {}",
    "batch.max_len": "length {}",
    "batch.packer": "{} packing",
    "loss.name": "{}",
    "loss.rounds": "{} rounds",
    "loss.n_chunks": "{} chunks",
    "loss.n_extra_chunks": "{} neighbouring chunks",
    "loss.n_buckets": "{} buckets",
    "train.epochs": "{} epochs",
    "train.learning_rate": "learning rate {}",
    "train.patience": "patience {}",
    "train.precision": "{}",
    "device.name": "on {}",
    "device.threads": "{} threads",
    "data.num_items": "{:,} items",
    "data.num_users": "{:,} users",
}
_FIRST = ("model.name", "loss.name")
_LAST = ("batch.size", "batch.max_len", "model.hidden_dim")


@dataclass(frozen=True, kw_only=True)
class Described:
    """A configuration in words: `data` names what it may be compared on, `label` itself.

    `usual` is the same for all: the values of the settings that a label does not name.
    """

    data: str
    label: str
    usual: str
    settings: Settings


def describe(rows: Iterable[Row], *, without: Iterable[str] = ()) -> dict[Key, Described]:
    """The configurations of `rows` by `key_of`, each with a label that no other on its data has.

    A row has the columns of `KEY`, and `spec`, `dataset` and `num_items`.
    """
    found = {key_of(row): row for row in rows}
    settings = [settings_of(row["spec"]) for row in found.values()]
    versions = {row["results_version"] for row in found.values()}
    metrics = {row["quality_metric"] for row in found.values()}
    data = [
        _data(row, difference, versions, metrics)
        for row, difference in zip(found.values(), _data_labels(settings), strict=True)
    ]
    devices: dict[str, set[tuple[Any, Any]]] = {}
    for place, row in zip(data, found.values(), strict=True):
        devices.setdefault(place, set()).add((row["device"], row["threads"]))
    own, usual = labels(settings, without=without)
    names = [
        ", ".join([label, *_machine(row, devices[place])])
        for label, place, row in zip(own, data, found.values(), strict=True)
    ]
    count = Counter(zip(data, names, strict=True))
    return {
        key: Described(
            data=place,
            # Specs of different versions may differ in keys that nobody set.
            label=name if count[place, name] == 1 else f"{name}, id {key[0]}",
            usual=usual,
            settings=one,
        )
        for key, place, name, one in zip(found, data, names, settings, strict=True)
    }


def _machine(row: Row, machines: set[tuple[Any, Any]]) -> list[str]:
    """The device and its threads, where those of a data set were not all the same."""
    if len(machines) == 1:
        return []
    if row["device"] is None:
        return ["not run"]
    known = {machine for machine in machines if machine[0] is not None}
    device = [str(row["device"])] if len({device for device, _ in known}) > 1 else []
    threads = [f"with {row['threads']} threads"] if len({n for _, n in known}) > 1 else []
    return device + threads


def _data(row: Row, difference: str, versions: set[int | None], metrics: set[str]) -> str:
    items = None if row["num_items"] is None else f"{row['num_items']:,} items"
    version = row["results_version"] or "unknown"
    rules = f"results version {version}" if len(versions) > 1 else None
    aim = f"by {metric_name(row['quality_metric'])}" if len(metrics) > 1 else None
    parts = (row["dataset"], items, difference, row["protocol"], rules, aim)
    return ", ".join(part for part in parts if part)


def key_of(row: Row) -> Key:
    """What names the configuration of a row."""
    return tuple(row[name] for name in KEY)


def settings_of(spec: str) -> Settings:
    """The settings of a stored spec by dotted key, without the seed and the path of the data."""
    flat: Settings = {}
    _flatten("", json.loads(spec), flat)
    return {key: value for key, value in flat.items() if key not in _IGNORED}


def _flatten(prefix: str, value: Any, flat: Settings) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}" if prefix else key, inner, flat)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            _flatten(f"{prefix}.{number}", inner, flat)
    else:
        flat[prefix] = json.dumps(value) if isinstance(value, list) else value


def labels(found: Sequence[Settings], *, without: Iterable[str] = ()) -> tuple[list[str], str]:
    """The settings in which each of `found` differs, such as "rece, 4 rounds, batch 32".

    Loss, number of negatives and batch size are always named, other settings where they differ: a
    value that more than half of them share is named once, in the second text, which holds for all
    labels that do not name that setting. Settings in `without` and of the section `data` are not
    named. An option of a loss or a model is compared only among the configurations with that loss
    or model.
    """
    # The metric is named with the data: configurations of two metrics are not compared.
    hidden = {*without, "evaluate.metric"}
    keys = [key for key in _differing(found) if not key.startswith("data.") and key not in hidden]
    usual = {key: value for key in keys if (value := _usual(key, found)) is not None}
    names = [
        ", ".join(_phrases(one, [key for key in keys if _is_named(key, one, usual)], hidden))
        for one in found
    ]
    common = [_phrase(key, json.loads(value), keys) for key, value in usual.items()]
    return names, ", ".join(common)


def _usual(key: str, found: Sequence[Settings]) -> str | None:
    """The value, as JSON, that more than half of those have to which the setting belongs."""
    if key in ("loss.name", "batch.size") or _is_number_of_negatives(key):
        return None
    values = [json.dumps(one[key]) for one in found if key in one]
    owners = {_owner(key, one) for one in found if key in one}
    number = sum(_owner(key, one) in owners for one in found)
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > number and value != "null" else None


def _is_named(key: str, one: Settings, usual: Mapping[str, str]) -> bool:
    return key in one and json.dumps(one[key]) != usual.get(key)


def _data_labels(found: Sequence[Settings]) -> list[str]:
    """The settings in which the data of each of `found` differ, beside their name and size."""
    keys = [key for key in _differing(found) if key.startswith("data.")]
    keys = [key for key in keys if key not in ("data.num_items", "data.reader", "data.name")]
    return [", ".join(_phrase(key, one[key], keys) for key in keys if key in one) for one in found]


def _phrases(one: Settings, keys: Sequence[str], hidden: set[str]) -> list[str]:
    own = [key for key in keys if one[key] is not None]
    middle = [
        key
        for key in own
        if key not in (*_FIRST, *_LAST, "batch.size") and not _is_number_of_negatives(key)
    ]
    phrases = [_phrase("model.name", one["model.name"], keys)] if "model.name" in own else []
    if "loss.name" in one and "loss.name" not in hidden:
        phrases.append(str(one["loss.name"]))
    phrases += [_phrase(key, one[key], keys) for key in middle if key.startswith("loss.")]
    phrases += _negatives(one, hidden)
    phrases += [_phrase(key, one[key], keys) for key in middle if not key.startswith("loss.")]
    if "batch.size" in one and "batch.size" not in hidden:
        phrases.append(_phrase("batch.size", one["batch.size"], keys))
    return phrases + [_phrase(key, one[key], keys) for key in _LAST[1:] if key in own]


def _negatives(one: Settings, hidden: set[str]) -> list[str]:
    counts = [one[key] for key in sorted(one) if _is_number_of_negatives(key)]
    if not counts or "negatives.0.num_negatives" in hidden:
        return []
    return [f"{' + '.join(map(str, counts))} negative{'' if counts == [1] else 's'}"]


def _is_number_of_negatives(key: str) -> bool:
    return key.startswith("negatives.") and key.endswith(".num_negatives")


def _differing(found: Sequence[Settings]) -> list[str]:
    """Keys whose value, or presence, differs among those to which they belong, in their order."""
    order: dict[str, None] = {}
    values: dict[tuple[str, _Owner], list[str]] = {}
    for one in found:
        for key, value in one.items():
            order[key] = None
            values.setdefault((key, _owner(key, one)), []).append(json.dumps(value))
    owners = Counter((name, one.get(f"{name}.name")) for one in found for name in ("loss", "model"))
    differ: set[str] = set()
    for (key, owner), texts in values.items():
        section = key.partition(".")[0]
        number = len(found) if owner is None else owners[owner]
        # Losses without negatives have no such settings; their number distinguishes the others.
        is_missing = section != "negatives" and len(texts) < number
        if is_missing or len(set(texts)) > 1:
            differ.add(key)
    return [key for key in order if key in differ]


def _owner(key: str, one: Mapping[str, Any]) -> _Owner:
    """Section and name of the loss or model that has this option or source; None: all have it."""
    section, _, name = key.partition(".")
    if section == "sources":
        section = "model" if name == "attributes" else name
    elif name == "name":
        return None
    return (section, one.get(f"{section}.name")) if section in ("loss", "model") else None


def _phrase(key: str, value: Any, keys: Sequence[str]) -> str:
    if key in _WORDS:
        words = _WORDS[key].format(value)
        return words.removesuffix("s") if value == 1 and words.startswith("1 ") else words
    name = key.rpartition(".")[2]
    is_clear = sum(other.rpartition(".")[2] == name for other in keys) == 1 and name != "name"
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return f"{name if is_clear else key}={text}"
