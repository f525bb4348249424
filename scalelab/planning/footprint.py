"""Measure what a process takes of a GPU beside its tensors: context, kernels, cuBLAS workspace."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from scalelab.core.errors import ScalelabError
from scalelab.measure.probes.nvml import Nvml

__all__ = ["Footprint", "measure_footprint", "write_footprint"]

_PATIENCE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes. `context` is what the driver counts for a process beyond what PyTorch's allocator has
    reserved; `workspace` what the first matrix product takes from that allocator and keeps.
    """

    context: int
    workspace: int


def measure_footprint(uuid: str) -> Footprint:
    """Run a fresh process, since this one may have its context already. Raises ScalelabError.

    Another process that starts or ends on the same GPU meanwhile is counted too.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    code = (
        "import sys; from scalelab.planning.footprint import write_footprint; "
        "write_footprint(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, uuid],
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": uuid},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise ScalelabError(f"the context of {uuid} cannot be measured: {lines[-1]}")
    found = Footprint(**json.loads(done.stdout.splitlines()[-1]))
    if found.context <= 0:
        raise ScalelabError(
            f"the context of {uuid} cannot be measured: another process has freed memory",
            "end what else runs on that GPU",
        )
    return found


def write_footprint(uuid: str) -> None:
    """Create a CUDA context, run the kernels of a training step, print the Footprint as JSON."""
    before = Nvml.used_bytes(uuid)
    device = torch.device("cuda")
    hidden = torch.randn(1024, 64, device=device)
    table = torch.nn.Parameter(torch.randn(4096, 64, device=device))
    held = torch.cuda.memory_allocated(device)
    logits = torch.mm(hidden, table.detach().T)
    torch.cuda.synchronize(device)
    # The product is 16 MiB, which the allocator does not round.
    workspace = torch.cuda.memory_allocated(device) - held - logits.numel() * 4
    # Kernels are loaded when they first run, and count in the context.
    optimizer = torch.optim.Adam([table], fused=True)
    targets = torch.arange(1024, device=device)
    for in_bf16 in (False, True):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=in_bf16):
            scores = torch.nn.functional.linear(hidden, table)
            torch.nn.functional.cross_entropy(scores.float(), targets).backward()
        optimizer.step()
    torch.cuda.synchronize(device)
    taken = Nvml.used_bytes(uuid) - before
    found = Footprint(context=taken - torch.cuda.memory_reserved(device), workspace=workspace)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
