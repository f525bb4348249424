"""Run tasks: one file per executor; `Executor` in `workers/task.py` says what each must do."""
