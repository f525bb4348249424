"""Batches: histories in, rows for the device out, prepared ahead by numba kernels in a few threads.

The batch counts user sequences. A step takes `size` users in the order of the epoch's permutation,
keyed by (seed, epoch), and a packer lays their training rows out. Every (input, target) pair of a
history's last `max_len + 1` items occurs once an epoch. Draws of negatives are counter-based, keyed
by (seed, epoch, source, user, position, k): the same whatever the packer or the number of threads.
"""
