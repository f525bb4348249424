"""Say how well held-out targets are ranked: one definition of each metric for all that ranks."""
