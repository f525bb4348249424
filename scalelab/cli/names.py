"""Write the settings of runs as short names for narrow columns; two runs never share a name."""

from collections import Counter
from collections.abc import Sequence

__all__ = ["readable", "short_names"]

# A value stands before its word or after it, as people say it: "128 neg", "batch 32".
_BEFORE = {
    "num_negatives": "neg",
    "num_items": "items",
    "num_users": "users",
    "rounds": "rounds",
    "num_blocks": "blocks",
    "num_heads": "heads",
    "epochs": "epochs",
    "n_chunks": "chunks",
    "n_extra_chunks": "extra",
    "n_buckets": "buckets",
}
_AFTER = {
    "size": "batch",
    "learning_rate": "lr",
    "hidden_dim": "dim",
    "max_len": "len",
    "weight_decay": "decay",
    "train_on": "on",
}
_MORE = "\N{HORIZONTAL ELLIPSIS}"


def readable(label: str) -> str:
    """A label such as `bce num_negatives=128 size=32` in words: `bce, 128 neg, batch 32`."""
    return ", ".join(_word(part) for part in label.split())


def short_names(labels: Sequence[str], width: int) -> dict[str, str]:
    """A name of at most `width` characters for each label; different labels get different names.

    Words are shortened before values: first the spaces go, then all but the first letters of the
    words, at last the end of the name. Names that are then equal get the number of their run.
    """
    different = list(dict.fromkeys(labels))
    for form in (readable, _tight, _named, _letters):
        names = {label: form(label) for label in different}
        fitting = all(len(name) <= width for name in names.values())
        if fitting and len(set(names.values())) == len(names):
            return names
    names = {label: _cut(_letters(label), width) for label in different}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    for number, label in enumerate(different, 1):
        if names[label] in shared:
            mark = f"#{number}"
            names[label] = _cut(_letters(label), width - len(mark)) + mark
    return names


def _word(part: str) -> str:
    key, equals, value = part.partition("=")
    if not equals:
        return part
    name, number = key.rpartition(".")[2], _number(value)
    if name in _BEFORE:
        word = _BEFORE[name]
        return f"{number} {word.removesuffix('s') if number == '1' else word}"
    # The name of a data set, or of its file, needs no word.
    return value if name == "path" else f"{_AFTER.get(name, name)} {number}"


def _number(value: str) -> str:
    """A whole number of thousands or millions as k or M."""
    for factor, unit in ((1_000_000, "M"), (1_000, "k")):
        if value.isdecimal() and int(value) and int(value) % factor == 0:
            return f"{int(value) // factor}{unit}"
    return value


def _tight(label: str) -> str:
    return " ".join(_word(part).replace(" ", "") for part in label.split())


def _named(label: str) -> str:
    """`sampled_softmax 128n b32`: the first letters of keys."""
    return " ".join(_initials(part) if "=" in part else part for part in label.split())


def _letters(label: str) -> str:
    """`sam_sof 128n b32`: three letters of each word of a name, too."""
    return " ".join(
        _initials(part) if "=" in part else "_".join(word[:3] for word in part.split("_"))
        for part in label.split()
    )


def _initials(part: str) -> str:
    key, _, value = part.partition("=")
    name, number = key.rpartition(".")[2], _number(value)
    if name in _BEFORE:
        return f"{number}{_BEFORE[name][0]}"
    word = _AFTER.get(name, name)
    return f"{''.join(each[0] for each in word.split('_') if each)}{number}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + _MORE
