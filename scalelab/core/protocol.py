"""Say in words by which protocol a run is evaluated: what makes two qualities comparable."""

from scalelab.core.run_sections import DataSpec

__all__ = ["protocol_of"]


def protocol_of(data: DataSpec) -> str:
    """Split, targets, seen items and filters."""
    cut = f"{data.quantile:g}" if data.cut == "" else f"{data.cut}"
    until = f" to {data.valid_cut}" if data.valid_cut != "" else ""
    split = {
        "leave_one_out": "leave-one-out",
        "temporal": f"temporal {cut}",
        "global_time": f"global time {cut}{until}",
        # Numbers of sessions are whole.
        "sessions": f"sessions {cut}{until}".replace(".0 ", " ").removesuffix(".0"),
    }[data.split]
    if data.test_items != 1:
        split += f", {data.test_items} items for test"
    usual = "successive" if data.split == "sessions" else "last"
    if data.targets not in (None, usual):
        split += f", targets {data.targets}"
    seen = "seen excluded" if data.exclude_seen else "seen included"
    parts = [split, seen]
    if data.min_item_count > 1 or data.min_user_count > 1:
        parts.append(f"{data.min_user_count}/{data.min_item_count}-core (users/items)")
    if data.drop != "none":
        parts.append(f"{data.drop} repeats dropped")
    if data.ties != "file":
        parts.append("ties by hash")
    if data.max_eval_users:
        parts.append(f"{data.max_eval_users} users evaluated")
    return ", ".join(parts)
