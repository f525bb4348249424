"""Offer tiles and sums of the losses to those who update the item table."""

from scalelab.losses._tiles import accumulate_dtype_of, add_rows, tile_numbers, tile_ranges

__all__ = ["accumulate_dtype_of", "add_rows", "tile_numbers", "tile_ranges"]
