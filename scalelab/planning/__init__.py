"""Predict the memory and the seconds of a run on a device before anything runs.

`predict.py` runs the step that trains on fake tensors (`fake_tensor_run.py`) and follows it with
the account that also measures; `allocator.py` replays the account's events in a simulation of
CUDA's caching allocator; `cuda.py` replaces what CUDA runs differently; `cost.py` and `roofline.py`
estimate seconds as a range; `solve.py` finds the largest value of a key that fits. What concerns
CUDA comes from PyTorch's sources; an H200 and an H100 have confirmed it (tests/gpu).
"""
