"""Compute losses with Triton kernels that keep no scores.

`softmax.py` holds the kernels, `tiles.py` the tile shapes by GPU, type and width, `ops.py` the
torch operations through which everything else calls them (with shapes for fake tensors and FLOPs,
so that accounts and predictions know them without Triton), `fused.py` the loss with its gradients,
`choice.py` whether a device runs them.
"""
