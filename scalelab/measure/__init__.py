"""Measure a run: execute one spec and return the record of its memory, time and quality.

`session.py` runs one spec in its process and turns whatever happens into a record. Memory comes
first, in passes of its own (`passes.py`): the account (`components.py`, `in_place.py`) follows
every live storage of the run's largest step and attributes its bytes to a component;
`account_check.py` holds it against the allocator's own count. Then the trainer is reset and trains
undisturbed under the probes (`probes/`), which only observe.

The five kinds of memory, each containing the one before it: `requested`, live bytes of tensors;
`allocated`, the same rounded by CUDA's caching allocator; `reserved`, the segments that it holds;
`device_used`, what the driver counts, context and kernels included; and beside them, `host_rss`,
the process in the machine's own memory, which on a CPU holds everything.
"""
