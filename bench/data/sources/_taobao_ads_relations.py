"""The four files of Taobao display ads as raw relations; :mod:`bench.data.sources.taobao_ads` says by which rules."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from bench.core.errors import UserError
from bench.data.sources._delimited import header_of, readable, typed

#: An action counts for a click at most so long before it; a longer inactivity ends a visit.
WINDOW_MINUTES = 30
ZONE = "Asia/Shanghai"
#: First days of the behaviour log and of the exposures, and the first day after both.
_BEHAVIOUR_FROM, _EXPOSURES_FROM, _END = date(2017, 4, 22), date(2017, 5, 6), date(2017, 5, 14)
#: ``ipv`` is how the documentation calls ``pv``.
_ACTIONS = {"pv": "browse", "ipv": "browse", "cart": "cart", "fav": "wish", "buy": "purchase"}
_LABELS = ("cart", "wish", "purchase")
#: Columns of a user; the official file has a space after the last name.
PROFILE = (
    "cms_segid",
    "cms_group_id",
    "final_gender_code",
    "age_level",
    "pvalue_level",
    "shopping_level",
    "occupation",
    "new_user_class_level",
)
#: Columns of the files, and those that may be missing.
FILES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "raw_sample": (
        {
            "user": "BIGINT",
            "time_stamp": "BIGINT",
            "adgroup_id": "BIGINT",
            "pid": "VARCHAR",
            "nonclk": "BOOLEAN",
            "clk": "BOOLEAN",
        },
        (),
    ),
    "ad_feature": (
        {
            "adgroup_id": "BIGINT",
            "cate_id": "INTEGER",
            "campaign_id": "BIGINT",
            "customer": "BIGINT",
            "brand": "INTEGER",
            "price": "DOUBLE",
        },
        ("campaign_id", "customer", "brand", "price"),
    ),
    "user_profile": ({"userid": "BIGINT", **dict.fromkeys(PROFILE, "INTEGER")}, PROFILE),
    "behavior_log": (
        {
            "user": "BIGINT",
            "time_stamp": "BIGINT",
            "btag": "ENUM(" + ", ".join(f"'{tag}'" for tag in _ACTIONS) + ")",
            "cate": "INTEGER",
            "brand": "INTEGER",
        },
        ("cate", "brand"),
    ),
}


def _second(day: date) -> int:
    """The first second of a day in Shanghai."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE)).timestamp())


def _item(category: str) -> str:
    return f"CAST({category} AS BIGINT) * {1 << 32} + brand"


def _dated(first: date) -> str:
    return f"time_stamp >= {_second(first)} AND time_stamp < {_second(_END)}"


_SHOWN = f"""
    CREATE TABLE shown AS
    SELECT user, item, time_stamp AS time, CAST(clk AS UTINYINT) AS click,
           CAST(dense_rank() OVER (PARTITION BY user, time_stamp ORDER BY adgroup_id) AS INTEGER) AS position,
           adgroup_id AS ad, campaign_id AS campaign, customer, pid, price
    FROM samples JOIN ads USING (adgroup_id)
    WHERE item IS NOT NULL AND {_dated(_EXPOSURES_FROM)}"""

_ACTION = "CASE btag " + " ".join(f"WHEN '{tag}' THEN '{action}'" for tag, action in _ACTIONS.items()) + " END"

_EVENTS = f"""
    CREATE TABLE raw_events AS
    SELECT user, {_item("cate")} AS item, time_stamp AS time, {_ACTION} AS action
    FROM {{log}}
    WHERE {_dated(_BEHAVIOUR_FROM)} AND user IN (FROM shown_users) AND {_item("cate")} IN (FROM shown_items)"""

#: Rows that are left out, each for the first reason that holds.
_LEFT_OUT = (
    "exposures_outside_days",
    "exposures_without_brand",
    "behaviour_outside_days",
    "behaviour_of_other_users",
    "behaviour_without_brand",
    "behaviour_of_other_items",
)
_EXPOSURE_COUNTS = f"""
    SELECT count_if(NOT dated), count_if(dated AND item IS NULL)
    FROM (SELECT {_dated(_EXPOSURES_FROM)} AS dated, item FROM samples JOIN ads USING (adgroup_id))"""
_BEHAVIOUR_COUNTS = f"""
    SELECT count_if(NOT dated), count_if(dated AND NOT of_user),
           count_if(dated AND of_user AND item IS NULL),
           count_if(dated AND of_user AND item IS NOT NULL AND item NOT IN (FROM shown_items))
    FROM (SELECT {_dated(_BEHAVIOUR_FROM)} AS dated, user IN (FROM shown_users) AS of_user, {_item("cate")} AS item
          FROM {{log}})"""

_RELATIONS = (
    f"""CREATE TABLE labelled AS
        SELECT clicked.user, clicked.item, clicked.time, ad,
               {", ".join(f"bool_or(action = '{a}') AS {a}" for a in _LABELS)}
        FROM (FROM raw_events WHERE action <> 'browse') AS done
        ASOF JOIN (SELECT user, item, time, max(ad) AS ad FROM shown WHERE click = 1 GROUP BY ALL) AS clicked
        ON done.user = clicked.user AND done.item = clicked.item AND done.time >= clicked.time
        WHERE done.time - clicked.time <= {WINDOW_MINUTES * 60}
        GROUP BY ALL""",
    f"""CREATE VIEW raw_exposures AS
        SELECT shown.*, {", ".join(f"CAST(coalesce({a}, false) AS UTINYINT) AS {a}" for a in _LABELS)}
        FROM shown LEFT JOIN labelled
        ON shown.user = labelled.user AND shown.item = labelled.item AND shown.time = labelled.time
           AND shown.ad = labelled.ad AND shown.click = 1""",
    """CREATE VIEW raw_users AS
       SELECT userid AS user, * EXCLUDE (userid) FROM profiles WHERE userid IN (FROM shown_users)""",
    """CREATE VIEW raw_items AS
       SELECT DISTINCT item, cate_id AS category, brand FROM ads WHERE item IN (FROM shown_items)""",
)


def make_relations(connection: duckdb.DuckDBPyConnection, files: dict[str, Path]) -> dict[str, int]:
    """Make ``raw_exposures``, ``raw_events``, ``raw_users`` and ``raw_items``; returns what was left out, and why.

    Raises:
        UserError: a file breaks its layout, or an ad is unknown or occurs twice.
    """
    log = {name: _open(connection, name, path) for name, path in files.items()}
    with readable(files["ad_feature"]):
        connection.execute(f"CREATE TABLE ads AS SELECT *, {_item('cate_id')} AS item FROM {log['ad_feature']}")
    with readable(files["user_profile"]):
        connection.execute(f"CREATE TABLE profiles AS FROM {log['user_profile']}")
    with readable(files["raw_sample"]):
        connection.execute(
            f"CREATE TABLE samples AS SELECT row_number() OVER () + 1 AS line, * FROM {log['raw_sample']}"
        )
    _check(connection, files)
    connection.execute(_SHOWN)
    counts = connection.execute(_EXPOSURE_COUNTS).fetchall()[0]
    connection.execute("DROP TABLE samples")
    for key in ("user", "item"):
        connection.execute(f"CREATE TABLE shown_{key}s AS SELECT DISTINCT {key} FROM shown")
    with readable(files["behavior_log"]):
        connection.execute(_EVENTS.format(log=log["behavior_log"]))
        counts += connection.execute(_BEHAVIOUR_COUNTS.format(log=log["behavior_log"])).fetchall()[0]
    for statement in _RELATIONS:
        connection.execute(statement)
    return dict(zip(_LEFT_OUT, map(int, counts), strict=True))


def _open(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> str:
    """SQL: a file with the types of its columns, in the order of its header."""
    types, optional = FILES[name]
    return typed(path, {c: types[c] for c in header_of(connection, path, list(types), ",")}, ",", optional=optional)


def _check(connection: duckdb.DuckDBPyConnection, files: dict[str, Path]) -> None:
    """Check what one line alone does not tell.

    Raises:
        UserError: an ad occurs twice, an exposure is of an unknown ad, or both clicked and not.
    """
    twice = connection.execute(
        "SELECT adgroup_id, count(*) FROM ads GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchall()
    if twice:
        ad, n = twice[0]
        raise UserError(f"{files['ad_feature']} must have one line per adgroup_id, but {ad} has {n}; keep one.")
    both = connection.execute("SELECT min(line) FROM samples WHERE clk = nonclk").fetchall()[0][0]
    if both is not None:
        raise UserError(
            f"{files['raw_sample']} line {both}: columns nonclk and clk must be 0 and 1, or 1 and 0, but are equal; "
            "mend or remove the line."
        )
    unknown = connection.execute(
        "SELECT min(line), arg_min(adgroup_id, line) FROM samples ANTI JOIN ads USING (adgroup_id)"
    ).fetchall()[0]
    if unknown[0] is not None:
        raise UserError(
            f"{files['raw_sample']} line {unknown[0]}: column adgroup_id must be an ad of {files['ad_feature'].name}, "
            f"but {unknown[1]} is none; download that file again."
        )
