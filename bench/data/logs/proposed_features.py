"""Which other columns of a log a proposed specification reads as features, and why not the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bench.data.logs.guesses import NAMES, looks_like_time, plain
from bench.data.logs.sample import Profile, Sample
from bench.data.logs.stage import RESERVED
from bench.data.logs.toml_text import line
from bench.data.tables import FORBIDDEN, LABELS

#: Names that a feature may not have, or that are made of the time.
_OWN = FORBIDDEN.union(RESERVED, ("hour", "weekday"))
#: A number with more values than these is cut into bins.
_FEW = 10
#: With fewer rows, another value in each is no sign of an id.
_ROWS = 10
_AMOUNTS = ("price", "amount", "cost", "revenue", "value", "income")


def feature_lines(
    sample: Sample, taken: Collection[str], labels: Mapping[str, str], where: str, complete: bool
) -> Iterator[str]:
    """A ``[[features]]`` block per column that is nothing else; commented out where it should not be one.

    Args:
        taken: columns that are something else.
        labels: label columns by label.
        where: SQL of the rows that are exposures.
        complete: the user, the item and the action or click label are known, so that no column here is one of them.
    """
    yield ""
    yield "# Features; user, item, hour and weekday are there anyway. kind: categorical, multi, numeric or dense."
    for column in sample.columns:
        if column in taken:
            continue
        profile = sample.profile(column, where)
        options: dict[str, Any] = {"column": column}
        if profile.name.lower() in _OWN:
            options["name"] = f"{plain(column)}_column"
        reason = _reason_against(sample, profile, labels)
        comment = reason or _described(profile)
        if not complete and not reason:
            comment = reason = f"{comment}; unless it is one of the columns to decide"
        options |= {} if reason else _kind(sample, profile)
        dash = "# " if reason else ""
        yield from ("", f"{dash}[[features]]")
        for key, value in options.items():
            yield f"{dash}{line(key, value, comment if key == 'column' else '')}"


def _reason_against(sample: Sample, profile: Profile, labels: Mapping[str, str]) -> str:
    """Why a column should be no feature; empty where it may be one."""
    if not profile.filled:
        return "empty in all exposures"
    if profile.distinct == 1 and profile.filled == profile.rows:
        return f"the same in all exposures: {profile.top[0][0][:40]}"
    if sample.nested(profile.name):
        return "a record: name its parts in columns of their own"
    if sample.listed(profile.name):
        return ""
    for label, column in labels.items():
        if sample.only_where(profile.name, column):
            return f"tells the label: it differs from its usual value only where {label} is 1"
    if any(plain(profile.name) in NAMES[label] for label in LABELS):
        return "called like a label: it may tell one"
    if looks_like_time(sample, profile):
        return "a time: it may lie after the exposure"
    if _is_amount(sample, profile):
        return ""
    if profile.distinct == profile.filled >= _ROWS:
        return "another value in every exposure"
    return ""


def _kind(sample: Sample, profile: Profile) -> dict[str, Any]:
    if sample.listed(profile.name):
        return {"kind": "multi"}
    if _is_amount(sample, profile):
        return {"kind": "numeric"}
    if not profile.numbers and (separator := sample.separator(profile.name)):
        return {"kind": "multi", "separator": separator}
    return {}


def _is_amount(sample: Sample, profile: Profile) -> bool:
    """Whether it is a number of many values: with fractions, or called like an amount."""
    amount = any(word in plain(profile.name) for word in _AMOUNTS)
    return profile.numbers and profile.distinct > _FEW and (amount or sample.has_fractions(profile.name))


def _described(profile: Profile) -> str:
    missing = f"{1 - profile.filled / profile.rows:.0%} missing, " if profile.filled < profile.rows else ""
    values = "value" if profile.distinct == 1 else "values"
    if profile.numbers and profile.distinct > _FEW:
        low, high = (int(x) if profile.integers else f"{x:g}" for x in (profile.low, profile.high))
        return f"{missing}{profile.distinct:,} {values} from {low} to {high}"
    shown = ", ".join(value[:20] for value, _ in profile.top[:3])
    return f"{missing}{profile.distinct:,} {values}: {shown}{', …' if profile.distinct > 3 else ''}"
