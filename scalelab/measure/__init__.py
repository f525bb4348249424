"""Measuring: a spec in, the record of its run out.

`session.py` runs one spec in its process and turns whatever happens into a record. Memory comes
first, in passes of its own (`passes.py`): `components.py` follows every live storage of the epoch's
largest step and knows whose each byte is. Then the trainer is reset, and trains undisturbed under
the probes (`probes/`), which are observers and nothing else.

The five kinds of memory, each containing the one before it: `requested`, live bytes of tensors;
`allocated`, the same rounded by CUDA's caching allocator; `reserved`, the segments that it holds;
`device_used`, what the driver counts, context and kernels included; and beside them, `host_rss`,
the process in the machine's own memory, which on a CPU holds everything.
"""
