import tomllib
from collections.abc import Callable

import pytest

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.core.parts import list_kind
from scalelab.core.presets import preset_names

PARTS = [(kind, name) for kind in plugins.KINDS for name in plugins.available(kind)]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_what_is_read_without_importing_is_what_an_import_finds(kind: str, name: str) -> None:
    part = next(part for part in list_kind(kind) if part.name == name)
    try:
        wanted = plugins.options(kind, name)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert [option.name for option in part.options] == list(wanted)
    for option in part.options:
        default = wanted[option.name].default
        if isinstance(default, str | int | float | bool | None):
            written = tomllib.loads(f"x = {option.default or chr(34) * 2}")["x"]
            assert written == ("" if default is None else default)


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_part_says_in_one_sentence_what_it_is(kind: str, name: str) -> None:
    part = next(part for part in list_kind(kind) if part.name == name)
    assert len(part.summary.split()) >= 3
    assert "\n" not in part.summary


def test_all_kinds_are_listed(scalelab: Callable) -> None:
    document = scalelab("list", "--json").document
    assert set(document) == {*plugins.KINDS, "profiles", "devices", "studies"}
    assert [part["name"] for part in document["studies"]] == preset_names("studies")
    assert [part["name"] for part in document["losses"]] == plugins.available("losses")


def test_one_kind_is_a_table_of_names_options_and_defaults(scalelab: Callable) -> None:
    done = scalelab("list", "losses")
    assert done.code == 0
    for name in plugins.available("losses"):
        assert name in done.out
    assert "\x1b" not in done.out


def test_without_a_kind_there_is_one_line_of_names_for_each(scalelab: Callable) -> None:
    """All descriptions and options are more than a thousand lines."""
    out = scalelab("list").out
    assert len(out.splitlines()) < 60
    words = set(out.replace(",", " ").split())
    for kind in plugins.KINDS:
        assert {kind, *plugins.available(kind)} <= words


def test_the_help_names_every_kind(scalelab: Callable) -> None:
    words = set(scalelab("list", "--help").out.replace(",", " ").replace(".", " ").split())
    assert {*plugins.KINDS, "profiles", "devices", "studies"} <= words
