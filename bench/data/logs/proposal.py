"""A specification proposed from the files of a log, with comments: what was guessed, why, and what must be decided."""

from __future__ import annotations

import glob
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.core.registry import SOURCES
from bench.data.logs.columns import time_sql
from bench.data.logs.guesses import Roles, exposures_sql, guess_roles, meaning
from bench.data.logs.local_time import day_of
from bench.data.logs.proposed_features import feature_lines
from bench.data.logs.sample import Profile, Sample, sniffed
from bench.data.logs.spec import Actions
from bench.data.logs.toml_text import CHECK, DECIDE, absent, line, remark
from bench.data.sql import connect
from bench.data.tables import LABELS, SPLITS


def propose(files: Sequence[str], to: Path) -> str:
    """A specification in TOML of the log in ``files`` (paths or globs), to be written to ``to``.

    Looks at the first rows of some of the files only.

    Raises:
        UserError: there is no such file, or one cannot be read.
    """
    patterns = [glob.escape(each) if Path(each).is_file() else each for each in files]
    listed = [os.path.relpath(Path(pattern).absolute(), to.absolute().parent) for pattern in patterns]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, connect(Path(scratch)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sample = Sample(connection, sniffed(connection, patterns, Path.cwd()), Path.cwd())
        profiles = {column: sample.profile(column) for column in sample.columns}
        roles = guess_roles(sample, profiles)
        exposed = exposures_sql(profiles, roles)
        lines = [
            *_head(sample, roles, listed, to),
            *_columns(sample, roles),
            *_meanings(sample, profiles, roles),
            *_rules(roles),
            *_splits(sample, roles, exposed),
            *feature_lines(sample, roles.taken, roles.labels, exposed, roles.complete),
            *_sides(),
        ]
    return "\n".join(lines) + "\n"


def _head(sample: Sample, roles: Roles, files: Sequence[str], to: Path) -> Iterator[str]:
    of = "all" if sample.whole else "the first"
    yield f"# What the files are; proposed by `bench data init-spec` from {of} {sample.rows:,} rows."
    yield "# Fill in lines with DECIDE, look at those with CHECK and at the comments, then:"
    yield f"# bench data import --spec {remark(to.name).lstrip(' #')}"
    yield ""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", to.stem).strip("_.-") or "mylog"
    yield line("name", f"{stem}_log" if stem in SOURCES.names() else stem, "of the dataset: --data NAME")
    yield line("files", files, "paths or globs, from the folder of this file")
    if sample.format == "csv":
        yield line("delimiter", sample.spec.delimiter)
        if sample.spec.header:
            yield line("header", True, "the first line has the names")
        else:
            yield line("header", False)
            yield line("names", list(sample.spec.names), f"{CHECK}the files have no header: give the columns names")
    events = "a log of events: its views are the exposures"
    yield line("shape", roles.shape, events if roles.shape == "events" else "a table of exposures with labels")
    if roles.time is not None and roles.time.naive:
        zone = "times have no offset; in which zone were they written? Such as Europe/Berlin"
        yield line("time_zone", "UTC", f"{CHECK}{zone}")
    elif roles.time is not None and roles.time.times.unit == "yyyymmdd":
        yield line("time_zone", "UTC", f"{CHECK}the zone of the days, such as Asia/Shanghai")
    else:
        yield '# time_zone = "Europe/Berlin"  # for local days and hours; without it they are UTC'
    if roles.domain is not None:
        yield line("search", roles.domain[1], f"values of {roles.domain[0]} that mean search; others: recommendation")


def _columns(sample: Sample, roles: Roles) -> Iterator[str]:
    listed = f"one of {', '.join(sample.columns)}"
    yield from ("", "[columns]")
    for key, column, what in (("user", roles.user, "who"), ("item", roles.item, "what was shown")):
        yield line(key, column) if column else absent(key, f"{DECIDE}{what}: {listed}")
    if roles.time is not None:
        first, last = (
            datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
            for second in (roles.time.first, roles.time.last)
        )
        yield line("time", roles.time.column, f"{first} to {last}{'' if sample.whole else ' in these rows'}")
    else:
        other = "; or the column that tells train, valid and test as splits.column"
        needed = f"{DECIDE}when, with times of 1990 to 2099: {listed}{other if roles.shape == 'exposures' else ''}"
        yield absent("time", "none was found: the rows tell their split" if roles.split else needed)
    if roles.shape == "events":
        known = f"{DECIDE}what was done (view, click, cart, …): {listed}"
        yield line("action", roles.action) if roles.action else absent("action", known)
    hint = {"visit": "without it visits come from [visits]", "position": "of the item in its list"}
    for key, column in (("visit", roles.visit), ("position", roles.position)):
        yield line(key, column) if column else absent(key, f"none was found; {hint[key]}")
    if roles.domain is not None:
        yield line("domain", roles.domain[0])


def _meanings(sample: Sample, profiles: Mapping[str, Profile], roles: Roles) -> Iterator[str]:
    """How times are written, and what actions or labels mean."""
    if roles.time is not None and (roles.time.times.unit != "auto" or roles.time.times.format):
        yield from ("", "[time]")
        others = f"{CHECK}it could as well be {' or '.join(roles.time.others)}" if roles.time.others else ""
        form = roles.time.times.format
        yield line("format", form, others) if form else line("unit", roles.time.times.unit)
    if roles.shape == "exposures":
        yield from ("", "[labels]")
        for label in LABELS:
            if column := roles.labels.get(label):
                hits = sum(n for value, n in profiles[column].top if value.lower() in ("1", "1.0", "true", "t"))
                yield line(label, column, f"1 in {hits:,} of {profiles[column].rows:,} rows")
            else:
                needed = f"{DECIDE}the column that is 1 where the exposure was clicked"
                yield absent(label, needed if label == "click" else "none was found")
    elif roles.action is not None:
        yield from ("", "[actions]")
        if not sample.whole:
            yield "# An import stops at a value that is not listed here: list it then."
        yield from _action_lines(profiles[roles.action])


def _action_lines(profile: Profile) -> Iterator[str]:
    """The values by what they mean; those that are not known are ignored, where others stand for exposures."""
    grouped: dict[str, list[tuple[str, int]]] = {}
    for value, rows in profile.top:
        grouped.setdefault(meaning(value) or "unknown", []).append((value, rows))
    unknown = grouped.pop("unknown", [])
    shown = "view" in grouped or "click" in grouped
    if unknown and shown:
        grouped["ignore"] = [*grouped.get("ignore", []), *unknown]
    for action in Actions.model_fields:
        if listed := grouped.get(action):
            strange = ", ".join(value for value, _ in unknown) if action == "ignore" and shown else ""
            yield line(
                action, [v for v, _ in listed], _rows(listed) + (f"; {CHECK}what is {strange}?" if strange else "")
            )
        elif action not in ("browse", "ignore"):
            yield f"# {action} = []  # none was found"
    if not shown:
        known = _rows(unknown or profile.top)
        yield absent(
            "view", f"{DECIDE}put each value under view, click, cart, wish, purchase, browse or ignore; {known}"
        )
    if profile.filled < profile.rows:
        yield f"# {CHECK}{profile.rows - profile.filled:,} rows have no action; an import stops at them"


def _rows(listed: Sequence[tuple[str, int]]) -> str:
    return f"rows: {', '.join(f'{value} {rows:,}' for value, rows in listed)}"


def _rules(roles: Roles) -> Iterator[str]:
    if roles.visit is None:
        yield from ("", "[visits]")
        if roles.time is not None and roles.time.days:
            yield line("by", "day", "the log has days, no times")
        else:
            yield line("by", "gap", "or day: all that a user did on a day")
            yield line("gap_minutes", 30, "of inactivity end a visit")
    yield from ("", "[attribution]")
    yield "# hours = 24  # an action counts for the latest exposure so long before it; without: in its visit"


def _splits(sample: Sample, roles: Roles, where: str) -> Iterator[str]:
    """Days, where all rows were seen; else shares of the exposures (rows ``where``)."""
    yield from ("", "[splits]")
    if roles.split is not None:
        yield line("column", roles.split)
        return
    days: dict[int, int] = {}
    if roles.time is not None and sample.whole:
        seconds = time_sql(sample.connection, sample, roles.time.column, roles.time.times, "UTC")
        day = f"SELECT {seconds} // 86400 AS day FROM sample WHERE {where}"
        query = f"SELECT day, count(*) FROM ({day}) WHERE day IS NOT NULL GROUP BY 1 ORDER BY 1"
        days = dict(sample.connection.execute(query).fetchall())
        if len(days) < len(SPLITS):
            yield f"# {DECIDE}train, valid and test each need a day, but there are {len(days)}; take a longer log"
            return
    if not days:
        yield line("valid_share", 0.1, "of the exposures, in whole days; or valid_from = YYYY-MM-DD")
        yield line("test_share", 0.2, "the last days; or test_from = YYYY-MM-DD")
        return
    valid, test = split_days(days)
    n = list(days.values())
    starts = [list(days).index(day) for day in (valid, test)]
    rows = [sum(n[a:b]) for a, b in itertools.pairwise((0, *starts, len(n)))]
    yield line("valid_from", day_of(valid), f"{rows[1]:,} rows; {rows[0]:,} before it are for training")
    yield line("test_from", day_of(test), f"{rows[2]:,} rows until {day_of(max(days))}")


def split_days(days: Mapping[int, int]) -> tuple[int, int]:
    """First days of validation and test: whole days nearest to 10 and 20 % of the rows.

    Args:
        days: rows by day, of three days or more, in order.
    """
    before = list(itertools.accumulate(days.values(), initial=0))
    test = min(range(2, len(days)), key=lambda i: abs(before[i] - 0.8 * before[-1]))
    valid = min(range(1, test), key=lambda i: abs(before[test] - before[i] - 0.1 * before[-1]))
    return list(days)[valid], list(days)[test]


def _sides() -> Iterator[str]:
    """What to add where features lie in files of their own."""
    for table, key in (("items", "item"), ("users", "user")):
        yield from ("", f"# [{table}]  # features of {table} in files of their own, one row each")
        yield f'# files = ["{table}.csv"]'
        yield f'# key = "{key}"'
        yield '# features = [{ column = "…" }]'
