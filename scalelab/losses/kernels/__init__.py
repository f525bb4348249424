"""Compute losses with Triton kernels that keep no scores.

`softmax.py` holds the kernels, `products.py` how they multiply float32, `tiles.py` the tile shapes
by GPU, products and width, `ops.py` the torch operations through which everything else calls them
(with shapes for fake tensors and FLOPs, so that accounts and predictions know them without Triton),
`launch.py` launches them, `scan.py` runs the forward pass, `fused.py` is the loss with its
gradients, `streamed.py` the same where the table's gradient is made by tiles, `choice.py` says
whether a device runs them.
"""
