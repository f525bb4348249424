"""Keep what a pre-training ends with, for all runs that differ only in what comes after it."""

import logging
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.core.identity import fingerprint_of
from scalelab.core.leftovers import temporary_folder
from scalelab.core.spec import RunSpec
from scalelab.train import checkpoint
from scalelab.train.fit import Fit
from scalelab.train.pretraining import pretrain_epochs
from scalelab.train.step import Parts

__all__ = ["save_shared", "shared_folder", "take_shared"]

_LOG = logging.getLogger(__name__)
# Pre-training draws its own negatives, and is neither validated nor ended by patience.
_LATER_SECTIONS = ("loss", "negatives", "evaluate")
_LATER_KEYS = ("epochs", "eval_every", "patience")


def shared_folder(spec: RunSpec, data_fingerprint: str, keep: Path | None) -> Path | None:
    """Where, beside the run's own folder `keep`, its pre-training lies once it is over.

    The same for runs that differ only in loss, negatives, metrics, epochs and patience. None
    without `keep`, and for a run without pre-training.
    """
    if keep is None or not pretrain_epochs(spec):
        return None
    sections = spec.as_sections()
    for name in _LATER_SECTIONS:
        sections.pop(name, None)
    sections["train"] = {k: v for k, v in sections["train"].items() if k not in _LATER_KEYS}
    sections["sources"] = {
        key: digest
        for key, digest in sections.get("sources", {}).items()
        if key.partition(".")[0] not in _LATER_SECTIONS
    }
    return keep.parent / f"pretrained-{fingerprint_of(sections, data_fingerprint)}"


def take_shared(folder: Path, parts: Parts, fit: Fit) -> None:
    """Go on from what another run has left in `folder`, if it is there. A damaged one goes."""
    facts = checkpoint.load_state(folder, parts.model, parts.optimizers)
    if facts is not None:
        fit.take(facts)
        _LOG.info("%s: the pre-training of an earlier run is taken over", folder.name)
    elif folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def save_shared(folder: Path, parts: Parts, fit: Fit) -> None:
    """A checkpoint that is there as a whole or not at all, whoever else writes the same one.

    Where it cannot be written that is logged: the run itself needs it no more.
    """
    if folder.exists():
        return
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(temporary_folder(f"{folder.name}.", folder.parent))
            checkpoint.save_state(
                partial, parts.model, parts.optimizers, facts=fit.facts(), best_epoch=None
            )
            os.rename(partial, folder)
        except (DataError, OSError) as error:
            if not folder.is_dir():  # else another run was first, with the same weights
                _LOG.warning("cannot keep the pre-training for other runs: %s", error)
