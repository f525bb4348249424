"""Write the names of metrics as papers do."""

__all__ = ["metric_name"]


def metric_name(key: str) -> str:
    """Such as NDCG@10 or Recall@20."""
    return key.capitalize() if key.startswith(("recall", "coverage")) else key.upper()
