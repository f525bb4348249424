"""The kernels compiled for GPUs that are not here: no registers spilled that cost time."""

import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="the extra triton is not installed")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from scalelab.losses.kernels import softmax  # noqa: E402
from scalelab.losses.kernels.tiles import tiles_for, width_of  # noqa: E402

TYPES = {
    **dict.fromkeys(("top", "total", "sums", "bias", "lse", "scale", "rows"), "*fp32"),
    **dict.fromkeys(("pad_id", "N", "V", "per_split"), "i32"),
    "ids": "*i32",
    "position_weight": "fp32",
    "targets": "*i64",
    "grad_rows": "*fp32",
}
HIDDEN = {"ieee": "*bf16", "bf16x6": "*bf16", "tf32": "*fp32"}
# Bytes of shared memory that a block may take.
SHARED = {(9, 0): 227 * 1024, (8, 0): 163 * 1024, (8, 6): 99 * 1024}


def compiled(kind, capability, width, precision, shared):
    shape = getattr(tiles_for(capability, precision, width), kind)
    constants = {
        "D": width,
        "WIDTH": width_of(width),
        "BN": shape.positions,
        "BV": shape.rows,
        "PRECISION": precision,
        "HAS_BIAS": shared,
        "SKIP_TARGET": shared,
    }
    constants |= (
        {"GRADIENT": True} if kind == "forward" else {"TARGET_AMONG_ROWS": not shared, "ADD": True}
    )
    if not shared:
        constants |= {"bias": None, "ids": None}
    function = getattr(softmax, kind)
    names = function.arg_names
    types = TYPES | {"hidden": HIDDEN[precision]}
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if signature[name].startswith("*")
    }
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs=aligned,
    )
    target = GPUTarget("cuda", capability[0] * 10 + capability[1], 32)
    options = {"num_warps": shape.warps, "num_stages": shape.stages, "enable_fp_fusion": True}
    return triton.compile(source, target=target, options=options)


def stack_bytes(kernel, folder: Path) -> int:
    """Bytes of local memory a thread, which is where spilled registers go."""
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.is_file():
        pytest.skip("this triton brings no cuobjdump")
    command = [str(tool), "--dump-resource-usage", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return max(int(found) for found in re.findall(r"STACK:(\d+)", text))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["ieee", "bf16x6", "tf32"])
@pytest.mark.parametrize("width", [64, 128, 200])
@pytest.mark.parametrize("capability", SHARED)
@pytest.mark.parametrize("kind", ["forward", "table"])
def test_every_kernel_fits_the_shared_memory_of_its_gpu(kind, capability, width, precision):
    for shared in (False, True):
        kernel = compiled(kind, capability, width, precision, shared)
        assert kernel.metadata.shared <= SHARED[capability]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("precision", ["ieee", "bf16x6"])
@pytest.mark.parametrize("capability", [(9, 0), (8, 0)])
@pytest.mark.parametrize("kind", ["forward", "table"])
def test_no_kernel_of_64_numbers_a_row_spills(kind, capability, precision, shared, tmp_path):
    kernel = compiled(kind, capability, 64, precision, shared)
    limit = 48  # a few bytes outside of the loop cost nothing
    assert stack_bytes(kernel, tmp_path) <= limit


def test_bfloat16_takes_the_tensor_cores_of_hopper():
    assert "wgmma" in compiled("forward", (9, 0), 64, "bf16x6", False).asm["ptx"]
