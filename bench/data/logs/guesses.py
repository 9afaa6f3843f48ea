"""What the columns of a log mean, guessed from their names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb

from bench.core.errors import UserError
from bench.data.logs.columns import time_sql
from bench.data.logs.sample import Profile, Sample
from bench.data.logs.spec import Times
from bench.data.sql import name, text
from bench.data.tables import LABELS, SPLITS

#: Names of columns by what they hold, the surest first; without case, dashes and underscores.
NAMES: dict[str, tuple[str, ...]] = {
    "user": (
        *("userid", "user", "uid", "visitorid", "visitor", "fullvisitorid", "customerid", "memberid", "accountid"),
        *("buyerid", "clientid", "customer", "member", "account", "cookieid", "cookie", "deviceid"),
    ),
    "item": (
        *("itemid", "item", "iid", "productid", "product", "skuid", "sku", "goodsid", "adgroupid", "adid", "ad"),
        *("articleid", "article", "contentid", "docid", "videoid", "movieid", "campaignid", "campaign"),
    ),
    "time": (
        *("timestamp", "time", "ts", "eventtime", "eventtimestamp", "datetime", "eventts", "servertime", "logtime"),
        *("requesttime", "clicktime", "createdat", "occurredat", "eventdate", "date", "day", "ymd", "dt"),
    ),
    "action": (
        *("eventtype", "event", "action", "actiontype", "behaviortype", "behaviourtype", "behavior", "behaviour"),
        *("btag", "eventname", "activity", "type"),
    ),
    "visit": ("usersession", "sessionid", "session", "visitid", "visit", "sessid"),
    "position": ("position", "pos", "rank", "slot", "itemposition", "displayposition", "productlistposition"),
    "domain": ("domain", "scene", "scenario", "channel", "page", "pagetype", "list", "listname", "source"),
    "click": ("click", "clicked", "isclick", "isclicked", "clk", "clicklabel", "labelclick"),
    "cart": ("cart", "carted", "addtocart", "iscart", "addcart", "atc", "iscarted", "cartlabel", "labelcart"),
    "wish": ("wish", "wished", "wishlist", "fav", "favorite", "favourite", "collect", "iswish", "isfav"),
    "purchase": (
        *("purchase", "purchased", "ispurchase", "conversion", "converted", "isconversion", "conv", "buy", "bought"),
        *(
            "isbuy",
            "ispurchased",
            "isbought",
            "isordered",
            "isconverted",
            "order",
            "ordered",
            "pay",
            "paid",
            "purchaselabel",
            "labelpurchase",
        ),
    ),
}
#: What a value of the action column means: the first pattern that it matches (without case, dashes, underscores).
_MEANINGS: tuple[tuple[str, str], ...] = (
    ("ignore", r"^(remove|delete|del|un|cancel|refund|return)"),
    ("cart", r"cart|basket|^atc$|addtobag"),
    ("wish", r"wish|fav|collect|^flw$|follow|bookmark|^likes?$|^save"),
    ("purchase", r"purchase|^(buy|bought|ord|orders?|ordered|pay|paid|payment|conversion|convert)$|transaction"),
    ("click", r"click|^clk$|^tap$"),
    ("view", r"view|^pv$|impression|^imp$|expos|^show|^display|^detail"),
)
_FORMATS = (
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M"),
    *("%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d%b%Y"),
)


@dataclass(frozen=True)
class TimeGuess:
    """A column of times: how they are written, the first and last second, and whether they lack an offset from UTC.

    ``days``: every time is a midnight. ``others``: formats that fit as well.
    """

    column: str
    times: Times
    naive: bool
    first: int
    last: int
    days: bool
    others: tuple[str, ...] = ()


class Roles(NamedTuple):
    """Which column is what; None or empty where none was found."""

    shape: str
    user: str | None
    item: str | None
    time: TimeGuess | None
    action: str | None
    labels: Mapping[str, str]
    visit: str | None
    position: str | None
    domain: tuple[str, tuple[str, ...]] | None
    split: str | None

    @property
    def complete(self) -> bool:
        """Whether the user, the item and the action or click label are known."""
        return bool(self.user and self.item and (self.action or "click" in self.labels))

    @property
    def taken(self) -> set[str]:
        """Columns that are something."""
        found = (self.user, self.item, self.time and self.time.column, self.action, *self.labels.values(), self.split)
        return {c for c in (*found, self.visit, self.position, self.domain and self.domain[0]) if c}


def plain(word: str) -> str:
    """``word`` without case, and only its letters and digits."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def by_name(columns: Sequence[str], role: str) -> list[str]:
    """Columns with a name of that role, the surest first."""
    named = {plain(column): column for column in reversed(columns)}
    return [named[known] for known in NAMES[role] if known in named]


def meaning(value: str) -> str | None:
    """What an action of that name is, if it is known."""
    return next((action for action, pattern in _MEANINGS if re.search(pattern, plain(value))), None)


def guess_roles(sample: Sample, profiles: Mapping[str, Profile]) -> Roles:
    """Which column is what, each of them one thing only."""
    columns = list(profiles)
    user, item = (next(iter(by_name(columns, role)), None) for role in ("user", "item"))
    labels = label_columns(profiles)
    taken = [column for column in (user, item, *labels.values()) if column]
    action = None if "click" in labels else action_column(profiles, taken)
    labels = {} if action else labels
    taken = [column for column in (user, item, action, *labels.values()) if column]
    split = next((column for column in columns if labels and profiles[column].values == {*SPLITS}), None)
    taken += [split] if split else []
    time = time_column(sample, profiles, taken)
    taken += [time.column] if time else []
    visit, position = (
        next((column for column in by_name(columns, role) if column not in taken), None)
        for role in ("visit", "position")
    )
    if position and not profiles[position].numbers:
        position = None
    domain = domain_column(profiles, [*taken, *(column for column in (visit, position) if column)])
    shape = "exposures" if labels else "events"
    return Roles(shape, user, item, time, action, labels, visit, position, domain, split)


def exposures_sql(profiles: Mapping[str, Profile], roles: Roles) -> str:
    """SQL: the rows that are exposures, as far as is known."""
    if roles.action is None:
        return "true"
    values = [value for value, _ in profiles[roles.action].top]
    for wanted in ("view", "click"):
        if shown := [value for value in values if meaning(value) == wanted]:
            return f"CAST({name(roles.action)} AS VARCHAR) IN ({', '.join(map(text, shown))})"
    return "true"


def label_columns(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Columns with labels, by label: their name says so, and their values are 0 and 1."""
    found: dict[str, str] = {}
    for label in LABELS:
        for column in by_name(list(profiles), label):
            values = {value.lower() for value in profiles[column].values}
            if profiles[column].distinct <= 2 and values <= {"0", "1", "0.0", "1.0", "true", "false", "t", "f"}:
                found.setdefault(label, column)
    return found


def action_column(profiles: Mapping[str, Profile], taken: Sequence[str]) -> str | None:
    """The column of actions: its values are known words, or few ones under a name of such a column."""
    few = [c for c, profile in profiles.items() if c not in taken and 0 < profile.distinct <= 40]
    words = [
        column
        for column in few
        if {meaning(value) for value in profiles[column].values} & {"view", "click"}
        and sum(meaning(value) is not None for value in profiles[column].values) * 2 >= profiles[column].distinct
    ]
    named = by_name(few, "action")
    return next((column for column in [*named, *words] if column in words), next(iter(named), None))


def domain_column(profiles: Mapping[str, Profile], taken: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """A column that tells where an item was shown, and its values that mean search."""
    free = [column for column in profiles if column not in taken]
    for column in by_name(free, "domain"):
        search = tuple(sorted(value for value in profiles[column].values if "search" in value.lower()))
        if search and profiles[column].distinct <= 40:
            return column, search
    return None


def time_column(sample: Sample, profiles: Mapping[str, Profile], taken: Sequence[str]) -> TimeGuess | None:
    """The column of times: by its name, else by values that are no plain numbers, or days of the form yyyymmdd."""
    free = [column for column in profiles if column not in taken]
    named = by_name(free, "time")
    named += [c for c in free if c not in named and re.search(r"(time|timestamp|date|_at|_ts)$", c.lower())]
    for column in (*named, *(column for column in free if column not in named)):
        units: tuple[str, ...] = ("s", "ms", "us", "ns", "yyyymmdd") if column in named else ("yyyymmdd",)
        if guess := _as_time(sample, profiles[column], units):
            return guess
    return None


def looks_like_time(sample: Sample, profile: Profile) -> bool:
    """Whether the values are times, other than bare numbers of no telling name."""
    named = re.search(r"time|date|_at$|_ts$", profile.name.lower())
    return _as_time(sample, profile, ("s", "ms", "us", "ns", "yyyymmdd") if named else ()) is not None


def _as_time(sample: Sample, profile: Profile, units: Sequence[str]) -> TimeGuess | None:
    if not profile.filled or profile.kind.endswith("]") or "(" in profile.kind:
        return None
    if profile.kind.startswith(("TIMESTAMP", "DATE")):
        ways = [Times()]
    elif profile.integers:
        ways = [Times.model_validate({"unit": unit}) for unit in units]
    elif profile.numbers or profile.distinct < 2 or not any(c in next(iter(profile.values)) for c in "-/:."):
        ways = []
    else:
        ways = [Times(unit="text"), *(Times(format=form) for form in _FORMATS)]
    found: list[TimeGuess] = []
    for way in ways:
        if guess := _parsed(sample, profile.name, way):
            found.append(guess)
            if way.format is None:
                break
    if not found:
        return None
    others = tuple(guess.times.format or "" for guess in found[1:])
    return TimeGuess(**(vars(found[0]) | {"others": others}))


def _parsed(sample: Sample, column: str, way: Times) -> TimeGuess | None:
    """The column read that way; None where a value cannot be."""
    try:
        try:
            seconds, naive = time_sql(sample.connection, sample, column, way, None), False
        except UserError:
            seconds, naive = time_sql(sample.connection, sample, column, way, "UTC"), True
        query = f"SELECT min(t), max(t), bool_and(t % 86400 = 0) FROM (SELECT {seconds} AS t FROM sample)"
        first, last, days = sample.connection.execute(query).fetchall()[0]
    except (UserError, duckdb.Error):
        return None
    return TimeGuess(column, way, naive and way.unit != "yyyymmdd", first, last, days)
