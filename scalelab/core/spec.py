"""Define the spec of a run: everything that decides its numbers, checked, from TOML."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field

from scalelab.core import plugins
from scalelab.core.errors import SpecError, nearest
from scalelab.core.evaluate_section import EvaluateSpec
from scalelab.core.identity import fingerprint_of
from scalelab.core.item_attributes import attributes_file, attributes_source
from scalelab.core.later_keys import without_later_defaults
from scalelab.core.locating import absolute, locate
from scalelab.core.option_types import section_of
from scalelab.core.part_sources import check_unchanged, sources_of
from scalelab.core.parts import list_kind
from scalelab.core.presets import find_preset
from scalelab.core.protocol import protocol_of
from scalelab.core.run_sections import (
    BatchSpec,
    DataSpec,
    DeviceSpec,
    ItemTableSpec,
    LossSpec,
    MeasureSpec,
    ModelSpec,
    NegativesSpec,
    PartSpec,
)
from scalelab.core.table_update import check_item_table, check_table_update
from scalelab.core.toml_sections import Section, checked, has_key, read_toml, with_dotted_keys
from scalelab.core.train_section import TableSpec, TrainSpec
from scalelab.core.user_table import check_users

__all__ = [
    "WORKED_OUT",
    "BatchSpec",
    "DataSpec",
    "DeviceSpec",
    "EvaluateSpec",
    "ItemTableSpec",
    "LossSpec",
    "MeasureSpec",
    "ModelSpec",
    "NegativesSpec",
    "PartSpec",
    "RunSpec",
    "TableSpec",
    "TrainSpec",
    "with_overrides",
]

# What a spec says of itself, whatever a file gives: no key that people write.
WORKED_OUT = frozenset({"sources"})

# Names of files that say nothing of what is in them.
_NO_NAMES = set(
    "ratings interactions train test data dataset clicks events reviews u all "
    "user_item useritem sequences sessions transactions".split()
)
_SUFFIXES = re.compile(
    r"\.(parquet|pq|csv|tsv|jsonl|ndjson|json|inter|dat|data|txt)(\.(gz|zst))?$", re.IGNORECASE
)

Overrides = dict[str, Any]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class RunSpec(Section, frozen=True):
    """One run: data x model x loss x batch x training."""

    data: DataSpec = DataSpec()
    """The data set, its filters and its split."""
    batch: BatchSpec = BatchSpec()
    """How many sequences a step takes, and how they lie in rows."""
    negatives: Annotated[tuple[NegativesSpec, ...], BeforeValidator(_as_list)] = ()
    """Sources of negatives, joined in order; left out where the loss takes none."""
    model: ModelSpec = ModelSpec()
    """The encoder."""
    table: ItemTableSpec = ItemTableSpec()
    """The item table."""
    loss: LossSpec = LossSpec()
    """The loss."""
    train: TrainSpec = TrainSpec()
    """How long and with what the run trains."""
    device: DeviceSpec = DeviceSpec()
    """Where the run trains."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """Which metrics are computed, and which of them chooses the epoch."""
    measure: MeasureSpec = MeasureSpec()
    """What is read while the run trains."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Digests of the parts that are not scalelab's own, worked out whatever is given here."""

    @classmethod
    def load(cls, name: str | Path, overrides: Overrides | None = None) -> "RunSpec":
        """A preset's name, or a path, to a resolved spec. Raises SpecError."""
        path = find_preset("runs", name)
        sections = read_toml(path)
        return cls.build(with_overrides(sections, overrides or {}), where=str(name))

    @classmethod
    def build(cls, sections: dict[str, Any], where: str = "the run") -> "RunSpec":
        """Tables as TOML gives them to a resolved spec. Raises SpecError."""
        return checked(cls, sections, where).resolved()

    def resolved(self) -> "RunSpec":
        """Every option checked and spelt out; negatives dropped where the loss takes none."""
        packer = absolute(self.batch.packer, Path.cwd())
        plugins.options("packers", packer)
        probes = tuple(absolute(self.measure.probes, Path.cwd()))
        for probe in probes:
            if not locate("probes", probe).in_tree:  # those of the tree need not be imported yet
                plugins.load("probes", probe)
        loss_class = plugins.load("losses", self.loss.name)
        wants = bool(loss_class.needs_negatives)
        if wants and not self.negatives:
            hint = "add a section [negatives] with name and num_negatives"
            raise SpecError(f"the loss {self.loss.name!r} needs negatives and none are given", hint)
        spec = self.model_copy(
            update={
                "data": self.data.resolved(),
                "batch": self.batch.model_copy(update={"packer": packer}),
                "measure": self.measure.model_copy(update={"probes": probes}),
                "negatives": tuple(n.resolved() for n in self.negatives) if wants else (),
                "model": self.model.resolved(),
                "table": self.table.resolved(),
                "loss": self.loss.resolved(),
            }
        )
        if self.evaluate.positions and self.data.split != "leave_one_out":
            raise SpecError(
                f"evaluate.positions = {self.evaluate.positions}: only leave-one-out trains on the "
                "positions before its targets",
                'write data.split = "leave_one_out", or leave evaluate.positions out',
            )
        if self.data.test_items != 1 and self.data.split != "leave_one_out":
            raise SpecError(
                f"data.test_items = {self.data.test_items}: the split {self.data.split!r} says "
                "itself which items test",
                'write data.split = "leave_one_out", or leave data.test_items out',
            )
        check_users(spec.data, spec.model)
        check_table_update(self.train, self.loss.name, loss_class)
        check_item_table(self.model, self.table, self.train)
        # The constructor is the last check of a loss's options.
        plugins.made("losses", spec.loss.name, **spec.loss.options)
        return spec.model_copy(update={"sources": spec.present_sources()})

    def named_parts(self) -> dict[str, tuple[str, str]]:
        """Kind and name of each part that decides numbers, by its key in `sources`."""
        return {
            "reader": ("readers", self.data.reader),
            "packer": ("packers", self.batch.packer),
            **{f"negatives.{n}": ("negatives", s.name) for n, s in enumerate(self.negatives)},
            "model": ("models", self.model.name),
            "table": ("tables", self.table.name),
            "loss": ("losses", self.loss.name),
        }

    def present_sources(self) -> dict[str, str]:
        """What `sources` should be now: parts that are not scalelab's own, and item attributes."""
        return sources_of(self.named_parts()) | attributes_source(self.data, self.model)

    def check_sources(self) -> None:
        """Raises SpecError where a part is no longer, or not here, what it was when planned."""
        check_unchanged(self.named_parts(), self.sources, self.present_sources())

    def with_(self, overrides: Overrides) -> "RunSpec":
        """The same run with some keys changed, such as {"batch.size": 256}. Raises SpecError."""
        return RunSpec.build(with_overrides(self.as_sections(), overrides))

    def as_sections(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as TOML or JSON would hold them."""
        sections = self.model_dump(mode="json")
        # Left out where they say nothing, so that a spec reads as it did before they were there.
        if not self.sources:
            del sections["sources"]
        sections = without_later_defaults(self, sections)
        return sections

    def as_json(self) -> str:
        """One line of JSON with every field, keys sorted."""
        return json.dumps(self.as_sections(), sort_keys=True)

    def fingerprint(self, data_fingerprint: str) -> str:
        """16 hex digits: equal for runs that must give the same numbers, wherever the data lie.

        Which of several GPUs it was decides nothing; `auto` would not say where the run trains.
        """
        assert self.device.name != "auto", "a device takes the place of auto first"
        attributes_file(self.data, self.model)  # without it the digest is not among the sources
        return fingerprint_of(self.as_sections(), data_fingerprint)

    @property
    def dataset(self) -> str:
        """Short name of the data set: `data.name`, else the file's without its suffixes, or its
        folder's where the file is called `ratings`, `train`, `interactions` or the like."""
        if self.data.name or self.data.path is None:
            return self.data.name or self.data.reader
        path = Path(self.data.path)
        stem = _SUFFIXES.sub("", path.name)
        if stem.lower() not in _NO_NAMES and "*" not in stem:
            return stem
        return path.parent.name or path.absolute().parent.name or stem

    @property
    def protocol(self) -> str:
        """What makes two qualities comparable: split, seen items, filters."""
        return protocol_of(self.data)


def with_overrides(sections: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    """A copy of `sections` with dotted keys set. Naming another part drops the old part's options.

    A section given as a table changes the keys that stand in it. `negatives.KEY` changes every
    source, `negatives.0.KEY` the first; a list replaces all. Raises SpecError.
    """
    result = json.loads(json.dumps(sections, default=str))
    overrides = with_dotted_keys(overrides)
    # Part names first, whatever the order they were given in: they decide which options exist.
    for key in sorted(overrides, key=lambda k: (k.count("."), _names_part(k) is None)):
        section, _, rest = key.partition(".")
        value = json.loads(json.dumps(overrides[key], default=str))  # TOML's dates
        if value == {} and has_key(result, key):
            continue  # a table that changes nothing
        if section == "negatives":
            _set_negatives(result, rest, value)
        elif section not in RunSpec.model_fields:
            meant = [] if rest else list(_keys_called(section))
            known = meant or RunSpec.model_fields
            raise SpecError(f"a run has no section {section!r}", nearest(section, known))
        elif not rest:
            result[section] = value
        else:
            _set_key(result.setdefault(section, {}), section, rest, value)
    return result


def _keys_called(name: str) -> Iterator[str]:
    """The keys of a run that a user means who leaves the section out."""
    for section, field in RunSpec.model_fields.items():
        spec = section_of(field.annotation)
        if spec is None:
            continue
        options = list_kind(spec.kind) if issubclass(spec, PartSpec) else ()
        names = {*spec.model_fields, *(each.name for part in options for each in part.options)}
        if name in names:
            yield f"{section}.{name}"


_PARTS: dict[str, type[PartSpec]] = {
    part.section: part for part in (DataSpec, ModelSpec, ItemTableSpec, LossSpec, NegativesSpec)
}


def _names_part(key: str) -> str | None:
    section, _, rest = key.partition(".")
    part = _PARTS.get(section)
    return section if part is not None and rest == part.name_field else None


def _set_key(section: dict[str, Any], name: str, key: str, value: Any) -> None:
    part = _PARTS.get(name)
    if part is not None and key == part.name_field and section.get(key) != value:
        for stale in section.keys() - part.model_fields.keys():
            del section[stale]
    *around, last = key.split(".")
    for inner in around:
        found: Any = section.setdefault(inner, {})
        if not isinstance(found, dict):
            message = f"{name}.{key}: {inner} is a value, not a section"
            raise SpecError(message, nearest(inner, RunSpec.model_fields))
        section = cast("dict[str, Any]", found)
    section[last] = value


def _set_negatives(sections: dict[str, Any], key: str, value: Any) -> None:
    if not key:
        sections["negatives"] = value
        return
    sources = _as_list(sections.get("negatives") or [{}])
    index, _, rest = key.partition(".")
    if index.isdigit():
        if int(index) >= len(sources) or not rest:
            hint = "write negatives.KEY, or negatives.N.KEY with N below the number of sources"
            raise SpecError(f"no source of negatives {key!r}; there are {len(sources)}", hint)
        sources[int(index)][rest] = value
    else:
        for source in sources:
            _set_key(source, "negatives", key, value)
    sections["negatives"] = sources
