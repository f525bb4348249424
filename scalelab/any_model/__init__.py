"""Measure and predict a training step of any PyTorch model (`scalelab.account`, `estimate`).

`module_account.py` follows every live byte and says which module it belongs to; `account.py` is the
context manager around a real step; `estimate.py` runs the same step on fake copies
(`fake_copies.py`) as a CPU or as CUDA would run it (`fake_step.py`); `memory.py` and `tables.py`
say what was found; `step_file.py` reads the step from a file.
"""
