"""Turn histories into batches for the device: rows of items, targets and negatives.

numba kernels prepare them ahead of time in a few threads. The batch counts user sequences. A step
takes `size` users in the order of the epoch's permutation, keyed by (seed, epoch), and a packer
places their sequences in rows. Every (input, target) pair of a history's last `max_len + 1` items
occurs once an epoch; with the packer `prefixes` every item but the first is once the target of all
items before it. Draws of negatives are counter-based, keyed
by (seed, epoch, source, user, position, k): the same whatever the packer or the number of threads.
"""
