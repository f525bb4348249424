"""Define what all rooms share: errors, units, events, records, specs, parts by name, and the facts
that several rooms need. Imports nothing of scalelab.
"""
