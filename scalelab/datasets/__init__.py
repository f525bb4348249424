"""Read or generate data sets; filter and split them.

Item ids are 1..num_items, 0 is padding. The order of a history is the order of time; ties keep the
order of the file.
"""
