"""Predict what a run will take on a device, before anything runs.

`predict.py` rehearses the very step that trains on fake tensors (`rehearsal.py`) and follows it
with the very account that measures; `allocator.py` tells the events to a model of CUDA's caching
allocator; `cuda.py` puts in what CUDA runs differently; `cost.py` and `roofline.py` give seconds as
a range; `solve.py` turns the question round. What concerns CUDA comes from PyTorch's sources and
has not been confirmed on a GPU.
"""
