"""Choose the columns of user, item and time among the names of a table."""

import re
from collections.abc import Collection

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import identifier, literal, shown
from scalelab.datasets.readers._ids import MISSING
from scalelab.datasets.readers._split_times import hint_of_two, time_of_day_columns
from scalelab.datasets.readers._table_formats import OTHER_READERS, SEPARATED, TableFormat
from scalelab.datasets.readers._time_formats import CANDIDATES
from scalelab.datasets.readers._time_units import SCALES, clock_range

__all__ = [
    "ORDER",
    "check_columns",
    "choose",
    "plain",
    "refuse_finer_times",
    "refuse_hidden_times",
    "session_instead",
]

# What data.time says where the order of the file is meant.
ORDER = "order"
_USUAL = {
    "user": """user user_id userid uid user_idx user_name username reviewerid reviewer_id
        customer_id customerid visitorid visitor_id member_id memberid account_id client_id
        person_id msno session session_id sessionid""",
    "item": """item item_id itemid iid item_idx movieid movie_id product_id productid aid
        parent_asin asin article_id articleid business_id gmap_id venueid venue_id track_id trackid
        song_id songid app_id appid video_id videoid book_id bookid isbn sku product movie game_id
        recipe_id items item_ids item_list news_id newsid poi_id poi location_id content_id
        anime_id stockcode stock_code click_article_id adgroup_id artist_id artistid""",
    "time": """ts timestamp time datetime unixreviewtime unix_review_time event_time eventtime
        event_timestamp event_ts time_stamp timestamp_ms time_ms t_dat last_watch_dt utctimestamp
        utc_timestamp unix_timestamp unixtime date date_added reviewtime review_time review_date
        last_interaction interaction_time created_at createdat click_time purchase_date order_date
        rating_timestamp transaction_dt transaction_date impression_time click_timestamp
        invoicedate invoice_date""",
}
_SESSIONS = ("session", "session_id", "sessionid")
_WORDS = ("time", "date", "stamp")
# What stands in a first line that is an interaction: numbers and dates.
_VALUE = re.compile(r"[0-9]+\.?[0-9]*$|[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check_columns(found: list[str], wanted: dict[str, str], source: Location) -> None:
    """Raises DataError for the first option of `wanted` whose column `found` has not."""
    for option, name in wanted.items():
        if name not in found:
            hint = f"there are: {shown(', '.join(found), 300)}; set data.{option} to one of them"
            hint += f', or data.time = "{ORDER}"' if option == "time" else ""
            if option == "time" and "," in name:
                hint = hint_of_two(*name.strip("[]").split(",", 1))
            raise DataError(f"{source} has no column {name!r} ({option})", hint)


def choose(
    found: list[str],
    options: dict[str, str],
    source: Location,
    repeated: Collection[str] = (),
) -> dict[str, str]:
    """The column of each of user, item and time; time only where one is requested or usual.

    A requested name counts first, then the usual ones. None may be in `repeated`. Raises DataError.
    """
    wanted = {option: name for option, name in options.items() if name}
    if wanted.get("time") == ORDER and ORDER not in found:
        del wanted["time"]
    check_columns(found, wanted, source)
    chosen = dict(wanted)
    lower = {plain(name): name for name in reversed(found)}
    for option, usual in _USUAL.items():
        match = next((lower[name] for name in usual.split() if name in lower), None)
        if not options[option] and match is not None:
            chosen[option] = match
    for option in ("user", "item"):
        if option not in chosen:
            columns = shown(", ".join(found), 300)
            if found == [str(place + 1) for place in range(len(found))]:
                raise DataError(
                    f"{source} has no header, so its {option} needs a place",
                    f"set data.{option} to a place from 1 to {len(found)}",
                )
            if any(_VALUE.match(name) for name in found):
                other = OTHER_READERS.get(source.format)
                raise DataError(
                    f"{source} has no column called {option!r}; its first line seems not to be "
                    f"a header: {columns}",
                    "set data.header = false and data.user, data.item, data.time to places from 1"
                    + (f"; or {other}" if other else ""),
                )
            hint = f"set data.{option} to one of: {columns}"
            if source.format in SEPARATED:
                hint += "; or data.header = false and places, if the first line is an interaction"
            raise DataError(f"{source} has no column called {option!r}", hint)
    for option, name in chosen.items():
        if name in repeated:
            raise DataError(
                f"{source} has several columns called {name!r} ({option})", "rename one of them"
            )
    return chosen


def session_instead(
    connection: duckdb.DuckDBPyConnection, table: TableFormat, user: str
) -> str | None:
    """The column of sessions, where there is one and nothing stands in the column of users."""
    names = {plain(name): name for name in reversed(table.names)}
    session = next((names[name] for name in _SESSIONS if name in names), None)
    if session is None or session == user:
        return None
    text = f"trim(CAST({identifier(user)} AS VARCHAR))"
    query = f"SELECT count(*) FILTER ({text} NOT IN ({', '.join(map(literal, MISSING))})) "
    [(named,)] = connection.execute(f"{query} FROM {table.scan}").fetchall()
    return None if named else session


def plain(name: str) -> str:
    """`User ID` and `user-id` are `user_id`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def refuse_hidden_times(
    connection: duckdb.DuckDBPyConnection,
    table: TableFormat,
    chosen: dict[str, str],
    source: Location,
) -> None:
    """Raises DataError naming the columns that could be times though none is called so."""
    others = [name for name in table.names if name not in chosen.values()]
    kinds = {} if table.is_text else table.types(connection)
    suspects = [
        name
        for name in others
        if any(word in name.lower() for word in _WORDS)
        or kinds.get(name, "").startswith(("TIMESTAMP", "DATE"))
        or _reads_as_time(connection, table, name)
    ]
    if suspects:
        names = ", ".join(repr(shown(name)) for name in suspects)
        of_day = time_of_day_columns(connection, table, others, any_name=True)
        date = next((name for name in suspects if name not in of_day), None)
        two = f"{hint_of_two(date, of_day[0])}; or " if date and of_day else ""
        raise DataError(
            f"{source}: no column is called a time as usual, but one could be: {names}",
            f'{two}set data.time to a column, or data.time = "{ORDER}" if the file is in order of '
            "time",
        )


def refuse_finer_times(
    connection: duckdb.DuckDBPyConnection,
    table: TableFormat,
    chosen: dict[str, str],
    source: Location,
) -> None:
    """Raises DataError where the chosen times are days, and another column has the time of day."""
    others = [name for name in table.names if name not in chosen.values()]
    if of_day := time_of_day_columns(connection, table, others):
        raise DataError(
            f"{source}: the usual column {chosen['time']!r} holds days, and {of_day[0]!r} the time "
            "of day",
            f'{hint_of_two(chosen["time"], of_day[0])}, or data.time = "{chosen["time"]}" if days '
            "are meant",
        )
    for name in others:
        if not any(word in name.lower() for word in _WORDS):
            continue
        text = f"trim(CAST({identifier(name)} AS VARCHAR))"
        number = f"TRY_CAST({text} AS DOUBLE)"
        (earliest, _) = clock_range("s")
        [(rows, finer)] = connection.execute(
            f"SELECT count(*), count(*) FILTER (regexp_matches({text}, '[0-9]:[0-9]{{2}}') OR "
            f"({number} >= {earliest} AND {number} % 86400 <> 0)) FROM {table.scan}"
        ).fetchall()
        if 2 * finer > rows and _reads_as_time(connection, table, name):
            raise DataError(
                f"{source}: the usual column {chosen['time']!r} holds days, and {name!r} seems to "
                "hold the time of day as well",
                f'set data.time = "{name}", or data.time = "{chosen["time"]}" if days are meant',
            )


def _reads_as_time(connection: duckdb.DuckDBPyConnection, table: TableFormat, name: str) -> bool:
    text = f"trim(CAST({identifier(name)} AS VARCHAR))"
    number = f"TRY_CAST({text} AS DOUBLE)"
    number = f"CASE WHEN isfinite({number}) THEN {number} END"
    day = f"try_strptime(CAST(TRY_CAST({text} AS BIGINT) AS VARCHAR), '%Y%m%d')"
    inside = [f"{number} >= {low} AND {number} < {end}" for low, end in map(clock_range, SCALES)]
    inside.append(f"{number} > 19900000 AND {number} < 20360000 AND {day} IS NOT NULL")
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition in inside)
    [(values, numbers, *timed)] = connection.execute(
        f"SELECT count(*) FILTER ({text} <> ''), count({number}), {counts} FROM {table.scan}"
    ).fetchall()
    if numbers and 10 * numbers >= 9 * values:
        return 10 * max(timed) >= 9 * numbers
    tried = ", ".join(f"count({candidate.micros('v')})" for candidate in CANDIDATES)
    [(some, *read)] = connection.execute(
        f"SELECT count(*), {tried} FROM (SELECT {text} AS v FROM {table.scan} "
        f"WHERE {text} <> '' LIMIT 2000)"
    ).fetchall()
    return bool(some) and 10 * max(read) >= 9 * some
