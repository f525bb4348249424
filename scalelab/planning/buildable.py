"""Check whether the parts of a run can be built, also where the run cannot be predicted."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.core.errors import PredictionUnsupported, ScalelabError
from scalelab.core.locating import locate
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import build_parts

__all__ = ["check_buildable", "others_faults"]


@contextmanager
def others_faults(spec: RunSpec) -> Iterator[None]:
    """Where a part is not scalelab's own, an error while it runs on fake tensors is its author's.

    Raises PredictionUnsupported in its place: on real tensors the part may work.
    """
    try:
        yield
    except ScalelabError:
        raise
    except Exception as error:
        others = [part for key, part in spec.named_parts().items() if key in spec.sources]
        if not others:
            raise
        whose = " or ".join(str(locate(*part)) for part in others)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise PredictionUnsupported(
            f"{whose} failed on tensors that have shapes and no values: {words}",
            "`scalelab profile` runs it on real tensors",
        ) from error


def check_buildable(spec: RunSpec, num_items: int) -> None:
    """Raises SpecError where model, loss or optimizer refuse their options. Allocates nothing."""
    device = spec.device.model_copy(update={"name": "cpu"})
    with FakeTensorMode():
        build_parts(spec.model_copy(update={"device": device}), num_items, num_users=1)
