"""Offer the verb `recommend`: top lists of a kept model, written in the user's own ids."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.arguments import Settings, overrides_of
from scalelab.core.errors import SpecError
from scalelab.core.leftovers import temporary_folder

__all__ = ["Recommended", "recommend"]


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """What was written: users with a list and rows, and what was left out.

    `users_without_list` have no item that the model knows, or have seen all of them. Where
    `own_user_ids` is False the reader kept no ids of users: they are counted from 1.
    `unknown_users` have no vector of their own in a model with `model.user_embedding`: what they
    are recommended depends on their items alone. None for a model without.
    """

    path: Path
    users: int
    rows: int
    users_without_list: int
    items: int
    unknown_items: int
    own_user_ids: bool
    unknown_users: int | None = None


def recommend(
    model: str | Path,
    histories: str | Path,
    out: str | Path,
    *,
    k: int = 20,
    include_seen: bool = False,
    reader: str | None = None,
    set: Settings = None,
    device: str = "cpu",
    format: str | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Recommended:
    """Write the `k` best items for each user of `histories`: columns user, rank, item, score.

    `model` is a folder of `profile --save-model`; `histories` any file that a reader reads (None:
    by its suffix; `set` takes keys of [data]). Items of a user's own history are left out unless
    `include_seen`. `report` is called with the number of users done and of all. Raises SpecError,
    DataError, LedgerError.
    """
    if k < 1:
        raise SpecError(f"invalid k: {k} is not above 0", "write for example 20")
    from scalelab.datasets.request import request
    from scalelab.result_tables.formats import format_of
    from scalelab.result_tables.row_writer import ROW_FORMATS, writing_rows

    format = format_of(format, Path(out), ROW_FORMATS, "parquet")
    dataset = request(histories, reader, overrides_of(set))
    from scalelab.measure.gpus import check_device
    from scalelab.train.kept_model import load_model
    from scalelab.train.recommend import known_items, known_users, top_lists

    check_device(device)
    kept = load_model(Path(model), device)
    with temporary_folder("scalelab-recommend-") as folder:
        interactions = dataset.load(folder)
        known = known_items(kept, interactions)
        user_rows = known_users(kept, interactions)
        find = interactions.find_user_ids
        users = None if find is None else find()
        done = 0
        with writing_rows(Path(out), format) as writer:
            for lists in top_lists(
                kept, interactions, known, k=k, include_seen=include_seen, user_rows=user_rows
            ):
                writer.write(
                    {
                        "user": lists.user_n + 1 if users is None else users[lists.user_n],
                        "rank": lists.rank_n,
                        "item": kept.item_ids[lists.item_n - 1],
                        "score": lists.score_n,
                    }
                )
                done += int((lists.rank_n == 1).sum())
                report(int(lists.user_n.max(initial=0)) + 1, interactions.num_users)
            if writer.num_rows == 0:
                raise SpecError(
                    f"no list to write: of {interactions.num_items:,} items in {histories} "
                    f"{known.num_unknown:,} are unknown to the model",
                    "check that the item ids are those that the model was trained on",
                )
        return Recommended(
            path=Path(out),
            users=done,
            rows=writer.num_rows,
            users_without_list=interactions.num_users - done,
            items=interactions.num_items,
            unknown_items=known.num_unknown,
            own_user_ids=users is not None,
            unknown_users=None if user_rows is None else int((user_rows == 0).sum()),
        )
