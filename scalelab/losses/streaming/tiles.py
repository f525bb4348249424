"""Offer the tiles of the losses to those who update the item table."""

from scalelab.losses._tiles import tile_ranges

__all__ = ["tile_ranges"]
