"""One shard of users: visits, exposures, and the labels that actions give them, as SQL over sorted rows.

- Rows are sorted by user, (visit,) time, item, action and the rest, so nothing depends on their order in the files.
- Repeated rows (same user, item, time, action and, where given, visit, position and labels) count once.
- A visit is one user's: a value of the visit column, a local day, or the rows without a gap of inactivity between them;
  in a log without times, its rows of one split.
- An exposure is a row of a table of exposures, or the first view of an item in a visit of a log of events.
  Later views of the item in its visit are counted as ``repeated_views``.
- A label is 1 where an action of that user and item comes at or after the exposure: it counts for the latest exposure
  before it, in the same visit or within the attribution window. Other actions stay events and are counted: ``late``
  ones after an exposure of another visit (or too long ago), ``early`` ones before the first exposure, and those
  ``without_exposure``. Those that count although they are of the days of a later split than their exposure (a visit
  over midnight, a window) are counted as ``of_later_split``. A click is implied where a cart, wish or purchase has
  none.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from bench.data.logs.rules import Rules
from bench.data.logs.stage import CODES, Staged, space, staged_name
from bench.data.sql import choice, name, text
from bench.data.tables import ACTIONS, DOMAINS, LABELS

_DAY = 86_400
#: SQL: a column of ``exposed``, called as no feature is.
CLICKED = name("click before one is implied")


@dataclass(frozen=True)
class Plan:
    """How every shard is read: the rules, what is staged, the columns of exposures, and where splits begin (days)."""

    rules: Rules
    staged: Staged
    features: tuple[str, ...]
    split_days: tuple[int, int] | None

    @property
    def attributed(self) -> tuple[str, ...]:
        """Labels that come from actions."""
        views = space(self.staged) == "view"
        return tuple(
            label
            for label in LABELS
            if label not in self.staged.given and self.staged.seen[label] and (label != "click" or views)
        )

    @property
    def clicked(self) -> bool:
        """Whether every exposure counts as clicked: the log does not tell a view from a click."""
        return "click" not in self.staged.given and "click" not in self.attributed

    @property
    def has_events(self) -> bool:
        """Whether there is a behaviour log."""
        return self.staged.timed or any(self.staged.seen[action] for action in ACTIONS)


def read_shard(
    connection: duckdb.DuckDBPyConnection, rows: str, plan: Plan, exposures: int, visits: int
) -> dict[str, int]:
    """Make the tables ``exposed`` and ``behaved`` of a shard, in their order; returns its counts.

    Args:
        rows: SQL of its staged rows.
        exposures: number of exposures before it.
        visits: number of visits before it, those without exposures as well.
    """
    for query in (
        f"CREATE OR REPLACE TEMP TABLE logged AS {_logged(rows, plan, visits)}",
        f"CREATE OR REPLACE TEMP TABLE shown AS {_shown(plan, exposures)}",
        "CREATE OR REPLACE TEMP TABLE starts AS "
        "SELECT v, min(time) AS start, min(exposure) AS first FROM shown GROUP BY v",
        f"CREATE OR REPLACE TEMP TABLE acts AS {_acts(plan)}",
        f"CREATE OR REPLACE TEMP TABLE labelled AS {_labelled(plan)}",
        f"CREATE OR REPLACE TEMP TABLE exposed AS {_exposed(plan)}",
        f"CREATE OR REPLACE TEMP TABLE behaved AS {_behaved(plan)}",
    ):
        connection.execute(query)
    return _counts(connection, rows, plan, visits)


def _logged(rows: str, plan: Plan, visits: int) -> str:
    """Distinct rows in order, with their place and visit number ``v``."""
    columns, rule = plan.staged.columns, plan.rules.visit
    # Where no time tells the visits of two splits apart, the split does.
    apart = "split" in columns and not plan.staged.timed and rule != "column"
    keys = ["user", *(["visit"] if rule == "column" else []), *(["split"] if apart else []), "time", "item", "action"]
    others = [name(column) for column in columns if column not in keys]
    same = [
        c for c in ("user", "visit", "time", "item", "action", "position", "domain", "split", *LABELS) if c in columns
    ]
    repeated = " AND ".join(f"{c} IS NOT DISTINCT FROM lag({c}) OVER ()" for c in same)
    day = f"{plan.staged.local('time')} // {_DAY}"
    new_day = f"{day} IS DISTINCT FROM lag({day}) OVER ()"
    opens = {
        "column": f"visit IS DISTINCT FROM lag(visit) OVER () OR (visit IS NULL AND {new_day})",
        "day": new_day,
        "gap": f"time - lag(time) OVER () > {plan.rules.gap_minutes * 60}",
    }[rule]
    or_split = "OR split IS DISTINCT FROM lag(split) OVER ()" if apart else ""
    return f"""
        SELECT * EXCLUDE (repeated), row_number() OVER () AS place
        FROM (
            SELECT * EXCLUDE (opens),
                   {visits - 1} + CAST(sum(CAST(opens AS TINYINT)) OVER (ROWS UNBOUNDED PRECEDING) AS BIGINT) AS v
            FROM (
                SELECT *, user IS DISTINCT FROM lag(user) OVER () OR {opens} {or_split} AS opens,
                       {repeated if plan.staged.timed else "false"} AS repeated
                FROM (FROM {rows} ORDER BY {", ".join([*keys, *others])})
            )
        )
        WHERE NOT repeated"""


def _shown(plan: Plan, exposures: int) -> str:
    """The rows that are exposures, with their number."""
    code = CODES.index(space(plan.staged))
    rows = f"FROM logged WHERE action = {code}"
    if plan.rules.shape == "events":
        rows = f"FROM logged SEMI JOIN (SELECT min(place) AS place {rows} GROUP BY v, item) USING (place)"
    return f"SELECT {exposures} + row_number() OVER () - 1 AS exposure, * FROM ({rows} ORDER BY place)"


def _acts(plan: Plan) -> str:
    """Actions that may give a label, each with the exposure that it counts for, if any."""
    codes = ", ".join(str(CODES.index(label)) for label in plan.attributed) or "NULL"
    window = plan.rules.attribution_hours
    key = "v" if window is None else "user"
    near = "true" if window is None else f"actions.time - earlier.time <= {window * 3600}"
    return f"""
        WITH actions AS MATERIALIZED (SELECT user, item, time, v, action FROM logged WHERE action IN ({codes})),
        candidates AS MATERIALIZED (
            SELECT user, item, time, v, exposure FROM shown SEMI JOIN actions USING (user, item)
        ),
        earlier AS (SELECT {key}, item, time, min(exposure) AS exposure FROM candidates GROUP BY ALL),
        firsts AS (SELECT user, item, min(time) AS first FROM candidates GROUP BY ALL)
        SELECT actions.action, actions.time, CASE WHEN {near} THEN earlier.exposure END AS exposure,
               firsts.first IS NULL AS without, coalesce(firsts.first <= actions.time, false) AS shown_before
        FROM actions
        ASOF LEFT JOIN earlier
        ON actions.{key} = earlier.{key} AND actions.item = earlier.item AND actions.time >= earlier.time
        LEFT JOIN firsts ON firsts.user = actions.user AND firsts.item = actions.item"""


def _labelled(plan: Plan) -> str:
    """One row per exposure that actions give a label to."""
    found = "".join(
        f", CAST(bool_or(action = {CODES.index(label)}) AS UTINYINT) AS {label}" for label in plan.attributed
    )
    return f"SELECT exposure{found} FROM acts WHERE exposure IS NOT NULL GROUP BY exposure"


def _exposed(plan: Plan) -> str:
    """The exposures as in the funnel tables, and ``CLICKED``: the click before one was implied."""
    columns, staged = plan.staged.columns, plan.staged
    labels = dict.fromkeys(LABELS, "0::UTINYINT")
    labels |= {label: f"coalesce(labelled.{label}, 0::UTINYINT)" for label in plan.attributed}
    labels |= {label: f"CAST(coalesce(shown.{label}, 0) AS UTINYINT)" for label in staged.given}
    later = ", ".join(labels[label] for label in LABELS[1:])
    clicked = "1::UTINYINT" if plan.clicked else labels["click"]
    split = "shown.split" if "split" in columns else _split_of(plan, "starts.start")
    position = "CAST(shown.exposure - starts.first AS INTEGER)"
    if "position" in columns:
        position = f"coalesce(shown.position, {position})"
    local = staged.local("shown.time")
    taken = ("user", "item", "hour", "weekday", "position", "domain")
    own = [feature for feature in plan.features if feature not in taken]
    return f"""
        SELECT shown.exposure, shown.user, shown.item, shown.v AS visit, shown.time, {position} AS position,
               {split} AS split, {"coalesce(shown.domain, 'recommendation') AS domain," if "domain" in columns else ""}
               greatest({clicked}, {later}) AS click,
               {", ".join(f"{labels[label]} AS {label}" for label in LABELS[1:])},
               CAST({local} // 3600 % 24 AS UTINYINT) AS hour, CAST(({local} // {_DAY} + 3) % 7 AS UTINYINT) AS weekday,
               {"".join(f"shown.{staged_name(feature)} AS {name(feature)}, " for feature in own)}
               {clicked} AS {CLICKED}
        FROM shown JOIN starts USING (v) LEFT JOIN labelled ON labelled.exposure = shown.exposure
        ORDER BY shown.exposure"""


def _split_of(plan: Plan, column: str) -> str:
    """SQL: the split of the day of a time."""
    assert plan.split_days is not None
    valid, test = plan.split_days
    day = f"{plan.staged.local(column)} // {_DAY}"
    return f"CASE WHEN {day} < {valid} THEN 'train' WHEN {day} < {test} THEN 'valid' ELSE 'test' END"


def _behaved(plan: Plan) -> str:
    """The behaviour log: actions, views that stand for clicks, and what the labels of a table of exposures tell."""
    first = 0 if plan.clicked and plan.rules.shape == "events" else 1
    named = " ".join(f"WHEN {code} THEN {text('click' if code == 0 else CODES[code])}" for code in range(len(CODES)))
    domain = "coalesce(domain, 'recommendation')" if "domain" in plan.staged.columns else "'recommendation'"
    parts = [
        f"SELECT user, item, time, v AS visit, CASE action {named} END AS action, {domain} AS domain "
        f"FROM logged WHERE action >= {first}"
    ]
    if plan.staged.timed:
        parts += [
            f"SELECT user, item, time, visit, '{label}', {domain} FROM exposed WHERE {label} = 1"
            for label in plan.staged.given
            if not plan.staged.seen[label]
        ]
    return f"FROM ({' UNION ALL '.join(parts)}) ORDER BY user, time, visit, item, {choice(ACTIONS, 'action')}, domain"


def _counts(connection: duckdb.DuckDBPyConnection, rows: str, plan: Plan, visits: int) -> dict[str, int]:
    labels = {"clicks": "click", "carts": "cart", "wishes": "wish", "purchases": "purchase"}
    queries = {
        "repeated": f"SELECT (SELECT count(*) FROM {rows}) - (SELECT count(*) FROM logged)",
        "log_visits": f"SELECT max(v) + 1 - {visits} FROM logged",
        "users": "SELECT count(DISTINCT user) FROM exposed",
        "visits": "SELECT count(*) FROM starts",
        "exposures": "SELECT count(*) FROM exposed",
        **{key: f"SELECT count_if({label} = 1) FROM exposed" for key, label in labels.items()},
        "implied_clicks": f"SELECT count_if(click > {CLICKED}) FROM exposed",
        "bad_case_purchases": "SELECT count_if(purchase = 1 AND cart = 0) FROM exposed",
        "events": "SELECT count(*) FROM behaved",
        "search_carts": f"SELECT count_if(action = 'cart' AND domain = '{DOMAINS[1]}') FROM behaved",
    }
    if plan.rules.shape == "events":
        code = CODES.index(space(plan.staged))
        queries["repeated_views"] = f"SELECT count_if(action = {code}) - (SELECT count(*) FROM exposed) FROM logged"
    for label in plan.attributed:
        of = f"FROM acts WHERE action = {CODES.index(label)}"
        queries |= {
            f"{label}_actions": f"SELECT count(*) {of}",
            f"{label}_late": f"SELECT count(*) {of} AND exposure IS NULL AND shown_before",
            f"{label}_early": f"SELECT count(*) {of} AND exposure IS NULL AND NOT shown_before AND NOT without",
            f"{label}_without_exposure": f"SELECT count(*) {of} AND without",
        }
        if plan.split_days is not None:
            later = f"JOIN exposed USING (exposure) WHERE acts.action = {CODES.index(label)}"
            queries[f"{label}_of_later_split"] = (
                f"SELECT count(*) FROM acts {later} AND {_split_of(plan, 'acts.time')} <> split"
            )
    selected = ", ".join(f"({query}) AS {name(key)}" for key, query in queries.items())
    found = connection.execute(f"SELECT {selected}").fetchall()[0]
    return {key: int(value or 0) for key, value in zip(queries, found, strict=True)}
