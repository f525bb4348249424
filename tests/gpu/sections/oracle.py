"""Compare every loss on the device with the papers' official code and with float64."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from call import ROOT, Call

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, ScalelabError
from scalelab.losses import LossBatch, Negatives

__all__ = ["relative", "run"]

# Their precision is their own; the section `losses` shows it.
EXTERNAL = {"cut_ce", "liger_ce", "linear_ce"}
# Float32 sums of some thousand terms; a sorted or bucketed loss may move a position at a tie.
OFFICIAL, REALISTIC = 1e-5, 2e-5
LARGE = {"cross_entropy", "sampled_softmax", "rece", "sce", "bce"}


def run(call: Call) -> None:
    """The cases of the official code, then realistic sizes, each of them twice."""
    _official(call)
    _chosen(call)
    sizes = (3_000, 60_000) if call.is_cuda else (3_000,)
    for items in sizes:
        for name, options, loss in _losses(large=items > 3_000):
            call.need(2)
            _realistic(call, name, options, loss, items, 700 if call.is_cuda else 100)


def _official(call: Call) -> None:
    cases = _helpers()
    if not cases.CASES:
        call.check("the papers' cases are there", False, f"none in {cases.FOLDER}; use --oracle")
        return
    worst, where, count = 0.0, "", 0
    for name in cases.CASES:
        with np.load(cases.FOLDER / f"{name}.npz") as arrays:
            case = {key: arrays[key] for key in arrays.files}
        for loss in cases.losses_of(name.rpartition("_")[0], case):
            hidden_ND = torch.tensor(case["hidden"]).to(call.device).requires_grad_()
            items_VD = torch.tensor(case["items"]).to(call.device).requires_grad_()
            value = loss(hidden_ND, items_VD, cases.moved(cases.batch_of(case), call.device))
            value.backward()
            wanted = float(case["loss"])
            error = max(
                abs(value.item() - wanted) / abs(wanted),
                relative(hidden_ND.grad, torch.tensor(case["grad_hidden"])),
                relative(items_VD.grad, torch.tensor(case["grad_items"])),
            )
            count += 1
            if error > worst:
                worst, where = error, f"{name} by {loss}"
    call.note(official_cases=count, official_worst=f"{worst:.1e}", official_worst_at=where)
    call.check(f"official code, within {OFFICIAL:.0e}", worst <= OFFICIAL, f"{worst:.1e} {where}")


def _chosen(call: Call) -> None:
    """Which kernel `auto` takes: a fused one that fails its own check would only be logged."""
    if "kernel" not in plugins.options("losses", "cross_entropy"):
        call.note(kernels="cross_entropy has no option `kernel` yet")
        return
    from scalelab.losses.kernels.choice import kernels_used

    wanted = "fused" if call.is_cuda else "tiled"
    hidden_ND, table_VD, batch = _problem(3000, 100)
    shared = _helpers().moved(replace(batch, negatives=batch.negatives[2:]), call.device)
    for name in ("cross_entropy", "sampled_softmax"):
        for bf16 in (False, True):
            own_ND, own_VD = (x.to(call.device).requires_grad_() for x in (hidden_ND, table_VD))
            kind = torch.device(call.device).type
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
                plugins.load("losses", name)()(own_ND, own_VD, shared).backward()
            what = f"{name} in {'bf16' if bf16 else 'fp32'} chooses the {wanted} kernel"
            call.check(what, kernels_used.get(name) == wanted, kernels_used.get(name))


@cache
def _helpers() -> ModuleType:
    """`tests/losses/test_oracle.py`, which knows how a case is read."""
    spec = importlib.util.spec_from_file_location("oracle_cases", _TEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_TEST = ROOT / "tests" / "losses" / "test_oracle.py"


def relative(got: torch.Tensor | None, wanted: torch.Tensor) -> float:
    """Distance in float64, as a share of the length of what is wanted."""
    assert got is not None
    exact = wanted.double()
    # A table's gradient of gigabytes is compared where it lies.
    near = got.detach().to(exact.device).double()
    return float((near - exact).norm() / exact.norm().clamp(min=1e-300))


def _losses(large: bool) -> Iterator[tuple[str, dict[str, Any], Any]]:
    options: dict[str, list[dict[str, Any]]] = {
        "cross_entropy": [{}, {"tile_mib": 0.5}, {"tile_mib": 8.0}],
        "sampled_softmax": [{}, {"logq": 1.0}, {"top_k": 20}],
        "rece": [{"rounds": 1}, {"rounds": 2}],
        "sce": [{"n_buckets": 30}],
    }
    for name in plugins.available("losses"):
        if name in EXTERNAL or (large and name not in LARGE):
            continue
        known = plugins.options("losses", name)
        for chosen in options.get(name, [{}]):
            kernels = ("fused", "tiled") if "kernel" in known else (None,)
            for kernel in kernels:
                # The hardest negatives of a row are known only when all its scores are.
                if kernel == "fused" and chosen.keys() & {"tile_mib", "top_k"}:
                    continue
                full = chosen | ({} if kernel is None else {"kernel": kernel})
                yield name, full, plugins.load("losses", name)(**full)


def _problem(items: int, positions: int) -> tuple[torch.Tensor, torch.Tensor, LossBatch]:
    draw = torch.Generator().manual_seed(0)

    def ids(*shape: int) -> torch.Tensor:
        return torch.randint(1, items + 1, shape, generator=draw, dtype=torch.int32)

    depth, sequences = 64, -(-positions // 10)
    hidden_ND = torch.randn(positions, depth, generator=draw)
    table_VD = torch.randn(items + 1, depth, generator=draw) * 0.3
    table_VD[0] = 0
    batch = LossBatch(
        targets_N=ids(positions).long(),
        num_items=items,
        sequence_N=torch.arange(positions, dtype=torch.int32) // 10,
        negatives=(
            Negatives("position", ids(positions, 64)),
            Negatives("sequence", ids(sequences, 16), 0.5),
            Negatives("batch", ids(512), 1.0),
        ),
        log_popularity_V=torch.randn(items + 1, generator=draw),
        given={
            "buckets": torch.randn(2, 12, depth, generator=draw),
            "random": torch.randn(30, depth, generator=draw),
        },
    )
    return hidden_ND, table_VD, batch


def _realistic(
    call: Call, name: str, options: dict[str, Any], loss: Any, items: int, positions: int
) -> None:
    hidden_ND, table_VD, batch = _problem(items, positions)
    if name == "sampled_softmax":
        # The fused kernel is for one source of negatives for the whole batch.
        batch = replace(batch, negatives=batch.negatives[2:])
    if name == "rece":
        batch = replace(batch, given={"buckets": batch.given["buckets"][: options["rounds"]]})
    if name == "sce":
        batch = replace(batch, given={"random": batch.given["random"]})
    # In float64 the tiled code is the reference: a fused kernel need not know that type.
    exact_options = options | ({"kernel": "tiled"} if "kernel" in options else {})
    exact_loss = plugins.load("losses", name)(**exact_options)
    label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
    exact_ND, exact_VD = (x.double().requires_grad_() for x in (hidden_ND, table_VD))
    assert batch.log_popularity_V is not None
    exact = replace(
        batch,
        log_popularity_V=batch.log_popularity_V.double(),
        given={key: value.double() for key, value in batch.given.items()},
    )
    try:
        wanted = exact_loss(exact_ND, exact_VD, exact)
        wanted.backward()
        runs = []
        for _ in range(2):
            own_ND, own_VD = (
                x.clone().to(call.device).requires_grad_() for x in (hidden_ND, table_VD)
            )
            value = loss(own_ND, own_VD, _helpers().moved(batch, call.device))
            value.backward()
            runs.append((value.detach(), own_ND.grad, own_VD.grad))
    except MissingExtra as missing:
        call.row("realistic", {"loss": label, "V": items, "skipped": str(missing)})
        return
    except ScalelabError as refused:
        call.row("realistic", {"loss": label, "V": items, "refused": str(refused)})
        if call.is_cuda:
            call.check(f"{label}, V={items} runs", False, refused)
        return
    except Exception as error:
        call.check(f"{label}, V={items} runs", False, f"{type(error).__name__}: {error}")
        return
    assert exact_ND.grad is not None
    assert exact_VD.grad is not None
    errors = (
        abs(float(runs[0][0]) - float(wanted.detach())) / abs(float(wanted.detach())),
        relative(runs[0][1], exact_ND.grad),
        relative(runs[0][2], exact_VD.grad),
    )
    same = all(torch.equal(one, other) for one, other in zip(*runs, strict=True))
    shown = [f"{error:.0e}" for error in errors]
    row = {"loss": label, "V": items, "value, dE, dC": shown, "same twice": same}
    call.row("realistic", row)
    call.check(f"{label}, V={items}, within {REALISTIC:.0e}", max(errors) <= REALISTIC, shown)
    call.check(f"{label}, V={items}, the same bits twice", same)
