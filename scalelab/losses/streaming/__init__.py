"""Keep what a loss knows of the item table's gradient without making that gradient.

A loss that can do so has a method `streamed(hidden_ND, item_table_VD, batch)`. It returns the loss,
whose backward pass reaches the hidden states alone, and a `TableGradient`: from it the optimizer of
the table makes the gradient of some rows at a time, after the backward pass.
"""
