"""This machine in, its device profile out: bandwidth, matrix products, cost of an operation."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from scalelab.measure.environment import device_bytes, environment
from scalelab.planning.devices import calibrated_file

__all__ = ["calibrate"]


def calibrate(out: Path | None = None) -> Path:
    """Measure this machine for a few seconds, write its device profile and return the file.

    Copying between large arrays, matrix products in fp32 and bf16, and a tiny operation; on the GPU
    if there is one (which no GPU has confirmed yet), else on the CPU with torch's present threads.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    large = torch.empty(64 * 2**20 // 4, device=device).fill_(1.0)
    target = torch.empty_like(large)
    copied = 2 * large.numel() * 4 / _seconds(lambda: target.copy_(large), device)
    flops = {
        name: _product_speed(device, dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    tiny = torch.zeros(8, device=device)
    launch = _seconds(lambda: [tiny.add_(1.0) for _ in range(1000)], device) / 1000
    facts = environment(device)
    file = out / "this-machine.toml" if out is not None and out.is_dir() else out
    path = file or calibrated_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    context = "0B" if device.type == "cpu" else "500MiB"
    path.write_text(
        f"# Measured by `scalelab doctor --calibrate` on {facts.host}, torch {facts.torch}, "
        f"{facts.threads} threads.\n"
        f'name = "{facts.device}"\nkind = "{device.type}"\n'
        f'memory = "{device_bytes(device) or 2**34}"\n'
        f"bandwidth_gb_s = {copied / 1e9:.4g}\n\n"
        f"[tflops]\nfp32 = {flops['fp32'] / 1e12:.4g}\nbf16 = {flops['bf16'] / 1e12:.4g}\n\n"
        f'[estimates]\ncontext = "{context}"\nlaunch_us = {launch * 1e6:.3g}\n'
        "efficiency = [0.45, 1.1]\n",
        encoding="utf-8",
    )
    return path


def _product_speed(device: torch.device, dtype: torch.dtype) -> float:
    # Long and narrow, as hidden states against a table are; a square product would flatter.
    hidden = torch.randn(1024, 64, device=device).to(dtype)
    table = torch.randn(16384, 64, device=device).to(dtype)
    out = torch.empty(1024, 16384, device=device, dtype=dtype)
    seconds = _seconds(lambda: torch.mm(hidden, table.T, out=out), device)
    return 2 * 1024 * 16384 * 64 / seconds


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 9) -> float:
    """Median seconds of `work` after two warm-ups."""
    taken: list[float] = []
    for index in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index >= 2:
            taken.append(time.perf_counter() - begun)
    return median(taken)
