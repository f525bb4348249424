"""Run one spec with everything recorded, and name the files that it left."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

from scalelab.core.events import Phase, Progress
from scalelab.core.profile_document import write_timeline
from scalelab.core.records import Record
from scalelab.core.spec import RunSpec
from scalelab.measure import session
from scalelab.measure.gpus import check_device, on_this_machine

__all__ = ["profiled"]


def profiled(
    spec: RunSpec,
    *,
    out: Path | None,
    save_model: Path | None,
    steps: int,
    report: Callable[[Progress], None],
) -> tuple[Record, dict[str, Path]]:
    """The record of a run in this process, and the files written to `out` and `save_model`.

    Both folders must exist. Raises SpecError and DataError.
    """
    spec = on_this_machine(spec)
    check_device(spec.device.name)
    report(_at_setup(spec))
    began = time.time()
    record = session.run(
        spec,
        run_id=f"profile-{uuid.uuid4().hex[:12]}",
        timeline=True,
        steps=steps or None,
        out=out,
        save_model=save_model,
        report=report,
        baselines=True,
        strict=True,
    )
    if out is not None:
        write_timeline(record, out / "timeline.csv")
    written = [
        file
        for folder in (out, save_model)
        for file in sorted(folder.iterdir() if folder is not None else ())
        # Clocks of file systems are coarse: a file of an earlier profile is older than a second.
        if file.stat().st_mtime >= began - 1
    ]
    return record, {file.stem: file for file in written}


def _at_setup(spec: RunSpec) -> Progress:
    return Progress(
        run_id="",
        phase=Phase.SETUP,
        epoch=0,
        epochs=spec.train.epochs,
        step=0,
        num_steps=0,
        loss=None,
        metric=None,
        best_metric=None,
        popularity=None,
        used_bytes=None,
        tokens_per_s=None,
    )
