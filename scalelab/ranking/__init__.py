"""Say which targets are ranked beside the held-out ones, and how well all of them are ranked."""
