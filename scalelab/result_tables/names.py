"""Write the names of metrics as papers do."""

__all__ = ["metric_name"]


def metric_name(key: str) -> str:
    """Such as NDCG@10, Recall@20 or Target popularity."""
    name, mark, k = key.partition("@")
    plain = name in ("recall", "coverage", "popularity") or not k
    return (name.replace("_", " ").capitalize() if plain else name.upper()) + mark + k
