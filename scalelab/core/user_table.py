"""Check that a model with a vector for each user is trained on data that have users."""

from scalelab.core.errors import SpecError
from scalelab.core.run_sections import DataSpec, ModelSpec

__all__ = ["check_users"]


def check_users(data: DataSpec, model: ModelSpec) -> None:
    """Raises SpecError where what the data call a user is a session or a line."""
    if not model.options.get("user_embedding"):
        return
    reasons = {
        'data.split = "sessions" tests on sessions that training has not seen': data.split
        == "sessions",
        f"the reader {data.reader!r} has a history for each session": data.reader == "sessions",
        "data.has_user = false has a history for each line": data.options.get("has_user") is False,
    }
    for reason, holds in reasons.items():
        if holds:
            raise SpecError(
                f"model.user_embedding needs users who come back, and {reason}",
                "write model.user_embedding = false, or take data with users",
            )
