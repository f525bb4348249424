"""Check whether the parts of a run can be built, also where the run cannot be predicted."""

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.core.spec import RunSpec
from scalelab.train.assemble import build_parts

__all__ = ["check_buildable"]


def check_buildable(spec: RunSpec, num_items: int) -> None:
    """Raises SpecError where model, loss or optimizer refuse their options. Allocates nothing."""
    device = spec.device.model_copy(update={"name": "cpu"})
    with FakeTensorMode():
        build_parts(spec.model_copy(update={"device": device}), num_items)
