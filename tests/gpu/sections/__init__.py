"""Hold the sections of `confirm.py`: one file per section, each with a function `run(call)`."""
