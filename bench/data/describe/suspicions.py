"""What is suspicious in a description, and what to do about it. Every bound has its reason beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from bench.data.describe.results import Column, Counts, Description, Finding, Times
from bench.data.tables import SPLITS

#: AUC of a single feature: the papers' best models, with all features, reach 0.83 (ESMC Table IV, CTCVR).
LEAK_AUC = 0.92
#: Share of the exposures of one user: a person is one of many; a bot, a test account or an empty id is not.
USER_SHARE = 0.05
#: The same of one item: a hit may be shown in every tenth exposure, hardly in every fifth.
ITEM_SHARE = 0.2
#: ... and times the mean, so that a log of few users or items is none of them.
TIMES_MEAN = 10
#: Share of the rows that a value of its own identifies.
ROW_ID_SHARE = 0.9
#: Values from which a feature can be an id: small tables have distinct values by chance.
ROW_ID_LEAST = 100
#: Repeated rows: two places on one page may show an item in the same second, one row in 200 should not.
REPEATED_SHARE = 0.005
#: Labelled exposures after the last such event: clocks differ by seconds, for one row in 1,000.
BEFORE_SHARE = 0.001
#: Events more than a day after the last exposure: leftovers of the last visits are fewer than one in 1,000.
LATE_SHARE = 0.001
#: Visits longer than a day: a tab left open over night, one visit in 1,000.
LONG_SHARE = 0.001
#: Purchases of the log whose item its user never was shown.
UNSEEN_SHARE = 0.5
#: Purchases whose click was made up by the reader, of all clicks: some come from quick views and search.
IMPLIED_SHARE = 0.1
#: Rates of two splits: seasons and promotions change them by less.
RATE_FACTOR = 3.0
#: Positives that each split should have at the rate of all: below, chance alone makes a factor of 3.
RATE_LEAST = 20
#: Days from which the first and last one can be compared with the others.
DAYS_LEAST = 4
#: A day is cut off where it begins (ends) so many seconds later (earlier) than others, ...
CUT_SECONDS = 2 * 3600
#: ... and has less than this share of the exposures of the median day.
CUT_SHARE = 0.7
#: Hours of the day in which people are awake: the least busy hours of a log should not lie there.
AWAKE = (9, 18)
#: The busiest hours have so many times the exposures of the least busy ones where the night shows at all.
NIGHT_FACTOR = 2.0
#: Exposures that the hours of the day are judged by.
HOURS_LEAST = 1000
#: Share of the exposures in one hour of the day, from which times are taken for mere dates.
DATES_SHARE = 0.95


def findings(found: Description) -> Iterator[Finding]:
    """Everything that is suspicious; nothing where all is as it should be."""
    whole = found.splits["all"]
    for column in found.columns:
        yield from _leaks(column)
    for column in found.columns:
        yield from _useless(column, whole)
    yield from _large_shares(found, whole)
    yield from _order(found)
    yield from _rows(found, whole)
    if found.times is not None:
        yield from _days(found.times)
        yield from _hours(found.times)
    yield from _rates(found.splits)
    yield from _funnel(found, whole)


def _leaks(column: Column) -> Iterator[Finding]:
    asked = {"click": "whether an exposure is clicked", "purchase": "whether a click is bought"}
    for label, what in asked.items():
        auc = column.auc[label]
        if label in column.mirrors:
            seen = f"The feature {column.name} says {what} without an error: it repeats the label {label}."
        elif auc is not None and auc > LEAK_AUC:
            seen = (
                f"The feature {column.name} alone tells {what} with an AUC of {auc:.3f} on the validation rows "
                f"(above {LEAK_AUC})."
            )
        else:
            continue
        yield Finding(
            kind="leak",
            seen=seen,
            means="It was probably written down after the fact, or made from the labels. A model that reads it looks "
            "excellent here and fails in use, where it is not known yet.",
            remedy=f"Take {column.name} out of the features, unless its value is known before the item is shown.",
        )


def _useless(column: Column, whole: Counts) -> Iterator[Finding]:
    kinds = column.distinct + (column.missing > 0)
    if kinds <= 1:
        what = "no value" if not column.distinct else f"the value {column.top}"
        yield Finding(
            kind="constant",
            seen=f"The feature {column.name} has {what} in every exposure.",
            means="It tells nothing.",
            remedy=f"Take {column.name} out of the features, or look for what was lost on the way.",
        )
    of = {"exposures": whole.exposures, "users": whole.users, "items": whole.items}[column.table]
    is_id = column.name in ("user", "item") or column.kind not in ("categorical", "multi")
    if not is_id and column.distinct >= ROW_ID_LEAST and column.distinct > ROW_ID_SHARE * of:
        row = column.table[:-1]
        again = f"it is one more id of the {row}" if column.table != "exposures" else "nothing can be learned from it"
        yield Finding(
            kind="row_id",
            seen=f"Feature {column.name} has {column.distinct:,} values for {of:,} {column.table}, almost one each.",
            means=f"A value that occurs with one {row} only identifies it; {again}, and a model learns it by heart.",
            remedy=f"Take {column.name} out of the features, or store what it stands for (a class, a price).",
        )


def _large_shares(found: Description, whole: Counts) -> Iterator[Finding]:
    for key, n, owners, bound, what in (
        ("user", found.clues.busiest_user, whole.users, USER_SHARE, "a bot, a test account"),
        ("item", found.clues.busiest_item, whole.items, ITEM_SHARE, "a banner"),
    ):
        share = n / whole.exposures
        name = next((f" ({column.top})" for column in found.columns if column.name == key), "")
        if share > bound and share * owners > TIMES_MEAN:
            yield Finding(
                kind=f"large_{key}",
                seen=f"One {key}{name} has {100 * share:.1f} % of the exposures ({n:,} of {whole.exposures:,}).",
                means=f"It may be {what} or an id that stands for “unknown”; all rates are partly its own.",
                remedy="Look at its rows, and leave them out if no single "
                f"{'person' if key == 'user' else 'thing'} is behind them.",
            )


def _order(found: Description) -> Iterator[Finding]:
    for label, (rows, before) in found.clues.before_exposure.items():
        if before > BEFORE_SHARE * rows:
            yield Finding(
                kind="before_exposure",
                seen=f"{before:,} of {rows:,} exposures with a {label} come after the user's last {label} of the item.",
                means="What happened before an exposure cannot follow from it: two clocks differ, one of them is in "
                "another time zone, or the label was joined without looking at the time.",
                remedy="Compare the clocks of the two logs, and count an action only for exposures before it.",
            )
    events = sum(sum(domains.values()) for domains in found.events.values())
    late = found.clues.late_events
    if late and late > LATE_SHARE * events:
        yield Finding(
            kind="late_events",
            seen=f"{late:,} of {events:,} events come more than a day after the last exposure.",
            means="The exposures end before the behaviour log does, or the clocks differ; no model sees these events, "
            "and the last exposures may have labels that others had no time to get.",
            remedy="Take exposures and events of the same days.",
        )


def _rows(found: Description, whole: Counts) -> Iterator[Finding]:
    repeated, long = found.clues.repeated, found.clues.long_visits
    seconds = found.times is not None and not _dates_only(found.times)
    if repeated and seconds and repeated > REPEATED_SHARE * whole.exposures:
        yield Finding(
            kind="repeated",
            seen=f"{repeated:,} of {whole.exposures:,} exposures repeat the user, item and second of another.",
            means="One exposure was probably logged twice; its label counts twice, or one of the two lacks it.",
            remedy="Keep one row of each, with all of its labels.",
        )
    if long and long > LONG_SHARE * whole.visits:
        yield Finding(
            kind="long_visits",
            seen=f"{long:,} of {whole.visits:,} visits last longer than a day.",
            means="Such a visit is several: its carts hide the bad cases (carts of an earlier visit), and it may reach "
            "over the end of a split.",
            remedy="Take visits from a gap of inactivity, such as 30 minutes, in place of this visit id.",
        )


def _days(times: Times) -> Iterator[Finding]:
    days = [day.day for day in times.days]
    missing = (days[-1] - days[0]).days + 1 - len(days)
    if missing:
        last = next(b for a, b in itertools.pairwise(days) if (b - a).days > 1)
        yield Finding(
            kind="empty_days",
            seen=f"{missing} of {len(days) + missing} days have no exposure; {last} is the first day after a hole.",
            means="Files are missing, or the log was down; purchases may have lost the carts of these days.",
            remedy="Read the missing files, or begin the log after the hole.",
        )
    if len(days) < DAYS_LEAST:
        return
    few = CUT_SHARE * float(np.median([day.exposures for day in times.days]))
    late = times.first_second - times.usual_first_second
    early = times.usual_last_second - times.last_second
    for which, day, seconds, verb in (
        ("first", times.days[0], late, "begins"),
        ("last", times.days[-1], early, "ends"),
    ):
        if seconds > CUT_SECONDS and day.exposures < few:
            when = "later" if which == "first" else "earlier"
            yield Finding(
                kind=f"cut_{which}_day",
                seen=f"The {which} day, {day.day}, {verb} {seconds / 3600:.1f} hours {when} than other days and has "
                f"{day.exposures:,} exposures.",
                means="It is cut off: it looks like a slow day"
                + ("." if which == "first" else ", and its last exposures had no time to be bought."),
                remedy=f"Leave the day out, or check the time zone (days are counted in {times.time_zone}).",
            )


def _hours(times: Times) -> Iterator[Finding]:
    hours = np.array(times.hours)
    total = hours.sum()
    if _dates_only(times):
        yield Finding(
            kind="dates_only",
            seen=f"{100 * hours.max() / total:.1f} % of the exposures lie in one hour of the day "
            f"({int(hours.argmax())}:00, {times.time_zone}).",
            means="The log has dates, not times: the order within a day, gaps of inactivity and the hour mean nothing.",
            remedy="Take a user's day as the visit, and leave out features of the hour.",
        )
        return
    if total < HOURS_LEAST:
        return
    three = hours + np.roll(hours, 1) + np.roll(hours, -1)
    quiet, busy = int(three.argmin()), int(three.argmax())
    if AWAKE[0] <= quiet < AWAKE[1] and three[busy] > NIGHT_FACTOR * three[quiet]:
        yield Finding(
            kind="time_zone",
            seen=f"The least busy time is around {quiet}:00, the busiest around {busy}:00 ({times.time_zone}).",
            means="People sleep at night: the times are probably of another time zone than the days are counted in, so "
            "that days, hours and splits begin in the middle of the day.",
            remedy="Set the time zone of the shop; times are stored as UTC.",
        )


def _dates_only(times: Times) -> bool:
    """Whether times are the dates of a log without them."""
    return len(times.days) > 1 and max(times.hours) > DATES_SHARE * sum(times.hours)


def _rates(splits: dict[str, Counts]) -> Iterator[Finding]:
    whole = splits["all"]
    for label, plural in (("click", "clicks"), ("purchase", "purchases")):
        overall = getattr(whole, plural) / whole.exposures
        rates = {
            split: getattr(splits[split], plural) / splits[split].exposures
            for split in SPLITS
            if split in splits and splits[split].exposures * overall >= RATE_LEAST
        }
        low, high = min(rates, key=lambda s: rates[s], default=""), max(rates, key=lambda s: rates[s], default="")
        if low and rates[high] > RATE_FACTOR * rates[low]:
            yield Finding(
                kind="rates_differ",
                seen=f"{100 * rates[high]:.3g} % of the exposures in {high} have a {label}, but "
                f"{100 * rates[low]:.3g} % in {low}.",
                means="The splits are of different worlds (a sale, another sampling, labels that are still to come): "
                "what is learned in one does not hold in the other.",
                remedy="Take other days for the splits, or leave the odd days out; where rows were sampled, sample all "
                "splits alike.",
            )


def _funnel(found: Description, whole: Counts) -> Iterator[Finding]:
    implied = max(found.manifest_counts.get("implied_clicks", 0), whole.purchases_without_click)
    if whole.clicks and implied > IMPLIED_SHARE * whole.clicks:
        yield Finding(
            kind="no_click",
            seen=f"{implied:,} carts, wishes or purchases had no click of their own, of {whole.clicks:,} clicks.",
            means="They came about another way than the exposure (search, a link, a reminder), or clicks were lost; "
            "either way the click rate holds actions that no click led to.",
            remedy="Look for clicks that are logged elsewhere; count actions only for exposures that were clicked.",
        )
    unseen, logged = found.clues.unseen_purchases, found.log_carts
    if unseen and logged is not None and unseen > UNSEEN_SHARE * logged.purchases:
        yield Finding(
            kind="unseen_purchases",
            seen=f"{unseen:,} of {logged.purchases:,} purchases in the behaviour log are of items that their user was "
            "never shown.",
            means="Most of what is bought does not come from these exposures, or the ids of the two logs differ.",
            remedy="Compare user and item ids of the two logs (variants of a product, devices of a user).",
        )
