"""What a hint names can be typed: a key that it sets or changes is one of a run or a study."""

import ast
import re
from pathlib import Path

import pytest

import scalelab
from scalelab.core import parts, plugins
from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec

PACKAGE = Path(scalelab.__file__).parent
SECTIONS = {
    "batch": None,
    "data": "readers",
    "device": None,
    "loss": "losses",
    "measure": None,
    "model": "models",
    "negatives": "negatives",
    "train": None,
}
_KEY = re.compile(rf"(?<![\w.])({'|'.join(SECTIONS)})\.([a-z_]+)\b(?!\()")


def hints() -> list[tuple[str, str]]:
    """Each text of a hint, with the place of its error."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name.endswith(("Error", "Unsupported", "Extra")):
                texts = [
                    each.value
                    for each in ast.walk(node.args[1])
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                ]
                place = f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
                found += [(place, " ".join(texts))] if texts else []
    return found


def known_keys(section: str) -> set[str]:
    """Fields of the section, and the options of every part that it can name."""
    annotation = RunSpec.model_fields[section].annotation
    fields = getattr(annotation, "model_fields", None)
    if fields is None:  # a tuple of sources
        from scalelab.core.run_sections import NegativesSpec

        fields = NegativesSpec.model_fields
    kind = SECTIONS[section]
    options = [set(plugins.options(kind, part)) for part in parts.available(kind)] if kind else []
    return set(fields).union(*options)


def test_hints_are_found() -> None:
    assert len(hints()) > 100


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_each_key_that_a_hint_names_exists(section: str) -> None:
    known = known_keys(section)
    for place, text in hints():
        for owner, key in _KEY.findall(text):
            if owner == section:
                assert key in known, f"{place}: no key {owner}.{key} in the hint {text!r}"


@pytest.mark.parametrize(
    ("settings", "then"),
    [
        ({"data.transition": 0.9, "data.taste": 0.5}, {"data.taste": 0.1}),
        ({"data.mean_length": 1.0}, {"data.mean_length": 20.0}),
        ({"data.max_length": 9_000, "data.num_items": 100}, {"data.max_length": 40}),
        ({"data.max_length": 9_000, "data.num_items": 100}, {"data.repeats": True}),
    ],
)
def test_what_the_hints_of_generated_data_name_puts_it_right(settings, then) -> None:
    from scalelab.datasets.load import load

    small = {"data.num_users": 50, **settings}
    with pytest.raises(SpecError) as caught:
        load(RunSpec.load("sasrec-synthetic", small).data)
    for key in then:
        assert key in (caught.value.hint or "")
    assert load(RunSpec.load("sasrec-synthetic", {**small, **then}).data).num_interactions
