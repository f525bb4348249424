"""Where runs run: one file an executor; what they promise is `Executor` in `workers/task.py`."""
