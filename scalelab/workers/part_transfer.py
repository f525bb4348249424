"""Send the files of parts to a node that does not have them, as they are where the sweep runs."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from scalelab.core import sources
from scalelab.core.errors import SpecError
from scalelab.core.locating import locate
from scalelab.core.records import Run
from scalelab.core.spec import RunSpec

__all__ = ["PartFiles", "as_sent", "pack_parts", "unpack_parts"]

# The content of each file by its path below the folder of the part, by the part's name.
PartFiles = Mapping[str, Mapping[str, bytes]]


def pack_parts(spec: RunSpec) -> PartFiles:
    """The files of the parts that are named by a file; packages are installed on each node."""
    packed: dict[str, dict[str, bytes]] = {}
    for kind, name in _parts(spec):
        try:
            place = locate(kind, name)
            files = {} if place.module else sources.files(place)
        except SpecError:
            continue  # the run will say it, on its own row
        if files:
            folder = place.file.parent
            packed[name] = {str(f.relative_to(folder)): f.read_bytes() for f in files.values()}
    return packed


def unpack_parts(spec: RunSpec, packed: PartFiles) -> RunSpec:
    """The spec with names of files that are here: the same ones, or copies of those sent."""
    names: dict[str, str] = {}
    for kind, name in _parts(spec):
        if name in packed:
            names[name] = _here(kind, name, packed[name])

    def moved(name: str) -> str:
        return names.get(name, name)

    probes = tuple(moved(name) for name in spec.measure.probes)
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"reader": moved(spec.data.reader)}),
            "batch": spec.batch.model_copy(update={"packer": moved(spec.batch.packer)}),
            "negatives": tuple(
                source.model_copy(update={"name": moved(source.name)}) for source in spec.negatives
            ),
            "model": spec.model.model_copy(update={"name": moved(spec.model.name)}),
            "table": spec.table.model_copy(update={"name": moved(spec.table.name)}),
            "loss": spec.loss.model_copy(update={"name": moved(spec.loss.name)}),
            "measure": spec.measure.model_copy(update={"probes": probes}),
        }
    )


def as_sent(run: Run, spec: RunSpec) -> Run:
    """The row of a run as `spec` names its parts: where a node keeps copies is its own matter."""
    if run.origin is None:
        return replace(run, spec=spec.as_json())
    origin = json.loads(run.origin)
    probes = {f"probes.{n}": n for n in spec.measure.probes}
    for key, name in ({k: n for k, (_, n) in spec.named_parts().items()} | probes).items():
        if "file" in origin.get(key, {}):
            origin[key]["file"] = name.rpartition(":")[0]
    return replace(run, spec=spec.as_json(), origin=json.dumps(origin, sort_keys=True))


def _parts(spec: RunSpec) -> Iterator[tuple[str, str]]:
    yield from spec.named_parts().values()
    yield from (("probes", name) for name in spec.measure.probes)


def _here(kind: str, name: str, files: Mapping[str, bytes]) -> str:
    path, _, attribute = name.rpartition(":")
    sent = _written(files, Path(path).name)
    copy = f"{sent}:{attribute}"
    try:
        same = sources.digest(locate(kind, name)) == sources.digest(locate(kind, copy))
    except SpecError:  # this node has no such file
        same = False
    return name if same else copy


def _written(files: Mapping[str, bytes], entry: str) -> Path:
    """A folder with these files, each content in one of its own, whichever run wrote it."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        total.update(name.encode() + b"\0" + files[name] + b"\0")
    folder = Path(tempfile.gettempdir()) / f"scalelab-{os.getuid()}" / f"part-{total.hexdigest()}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            whole = Path(draft) / "whole"
            for name, content in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(content)
            try:
                whole.rename(folder)
            except OSError:
                if not folder.exists():  # else another run of this node was quicker
                    raise
    return folder / entry
