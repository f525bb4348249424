"""Generate histories from a model whose true next-item probabilities are known.

This is a generative model with an oracle, not a reader: it takes options and no file. The key
`data.reader = "synthetic"` chooses it. `model` holds the options and what they mean; `draws` the
random draws, `histories` the path of a user through the catalog, `oracle` the quality of the
best possible ranking.
"""
