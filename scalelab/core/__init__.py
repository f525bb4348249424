"""Define what all packages share: errors, units, events, records, specs, parts by name, and
decisions that several packages need. Imports nothing of scalelab.
"""
