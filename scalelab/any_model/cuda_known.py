"""Separate the operations whose memory on CUDA is known from those that it is only bounded for."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves  # noqa: PLC2701

from scalelab.measure.cuda_workspaces import RULES

__all__ = ["unknown_on_cuda"]

# Kernels of PyTorch's own that allocate their results and nothing else worth counting, and those of
# cuBLAS, whose lasting workspace is counted apart.
_KNOWN = frozenset(
    """
    mm addmm bmm baddbmm addmv mv dot addmm_ baddbmm_
    embedding embedding_dense_backward nll_loss_forward nll_loss_backward
    nll_loss2d_forward nll_loss2d_backward _softmax _softmax_backward_data
    _log_softmax _log_softmax_backward_data _safe_softmax logsumexp
    native_layer_norm native_layer_norm_backward native_dropout native_dropout_backward
    _scaled_dot_product_efficient_attention _scaled_dot_product_efficient_attention_backward
    sum mean amax amin max min var var_mean std argmax argmin any all norm linalg_vector_norm
    cat stack clone copy_ _to_copy contiguous detach index_select index gather take_along_dim
    index_select_backward scatter scatter_ scatter_add scatter_add_ index_add index_add_
    index_copy index_copy_ floor_divide
    index_put index_put_ _index_put_impl_ index_fill index_fill_ masked_fill masked_fill_ where
    fill fill_ zero_ zeros_like ones_like empty_like full_like rand_like randn_like new_zeros
    new_empty new_full new_ones new_empty_strided select_backward slice_backward
    unsqueeze_backward sort tril triu constant_pad_nd repeat roll flip
    gelu_backward threshold_backward sigmoid_backward tanh_backward silu_backward
    elu_backward leaky_relu_backward hardtanh_backward softplus_backward
    max_pool2d_with_indices max_pool2d_with_indices_backward avg_pool2d avg_pool2d_backward
    upsample_nearest2d upsample_nearest2d_backward upsample_bilinear2d
    _unsafe_view _reshape_alias _local_scalar_dense bernoulli bernoulli_
    uniform_ normal_ random_ resize_ set_ lift_fresh
    """.split()
)
_LIBRARIES = {
    "convolution": "cuDNN chooses the algorithm of a convolution, and its workspace is not counted",
    "batch_norm": "cuDNN may normalize batches, and its buffers are not counted",
}


def unknown_on_cuda(func: Any, args: tuple[Any, ...], kwargs: Any) -> str | None:
    """Why the count of what `func` takes on CUDA may be too low; None where it is known."""
    name = func.overloadpacket.__name__
    for part, reason in _LIBRARIES.items():
        if part in name:
            return reason
    if name in _KNOWN or func in RULES or func.is_view or torch.Tag.pointwise in func.tags:
        return None
    if name.startswith(("_foreach_", "_fused_")) or func.namespace in ("prim", "profiler"):
        return None
    if func.namespace == "scalelab":
        return None
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
        return None  # it makes a tensor
    if func.namespace != "aten":
        return f"what the operation {func} holds for itself is not known"
    return f"what {name} holds for itself on CUDA is not known"
