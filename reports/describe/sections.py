"""What a description says, section by section, for the terminal and for Markdown alike."""

from __future__ import annotations

import json

from bench.data.describe.carts import MOST_DAYS
from bench.data.describe.results import QUANTILES, Carts, Description, Spread
from bench.data.tables import SPLITS
from reports.describe.features import features
from reports.describe.parts import Section, Table
from reports.describe.words import duration, number, percent, plural, rough
from reports.exhibits.table_iii import PAPER
from reports.markdown import MISSING
from reports.published import load_published

DAYS, HOURS, SPREADS, CARTS = "days.png", "hours.png", "spreads.png", "carts.png"

#: Rate → (part, whole) of the counts.
RATES = {
    "exposures that are clicked (CTR)": ("clicks", "exposures"),
    "clicks with a cart": ("carts", "clicks"),
    "clicks with a wish": ("wishes", "clicks"),
    "clicks that are bought (CVR)": ("purchases", "clicks"),
    "exposures that are bought (CTCVR)": ("purchases", "exposures"),
    "purchases without a cart of their own": ("purchases_without_cart", "purchases"),
}
COUNTS = ("exposures", "clicks", "carts", "wishes", "purchases", "users", "items", "visits")
#: What a log must have for a count: a fact that its manifest may lack.
_NEEDS = {"clicks": "click", "carts": "cart", "wishes": "wish", "purchases": "purchase", "visits": "visit"}
_NEEDS["purchases_without_cart"] = "cart"

CALIBRATED = "The carts of training rows are not the log's: Sample Calibration gave purchases those of earlier visits."
LOOKED_FOR = (
    "Looked for: features that tell a label, that never change, or that are one more id; one user or item with a large "
    "share of the exposures; labels before their exposure; events after the last exposure; repeated exposures; visits "
    "longer than a day; days without exposures or cut off; a wrong time zone; splits with other rates; actions "
    "without a click; purchases without an exposure."
)


def title_of(found: Description) -> str:
    """``six_cities, city 6``."""
    return f"{found.dataset}, city {found.city}" if found.city.isdigit() else f"{found.dataset}, {found.city}"


def summary(found: Description) -> str:
    """What the log is, in one sentence."""
    whole, times = found.splits["all"], found.times
    what = "A simulated log" if found.origin == "simulated" else "A log"
    when = "without times"
    if times is not None:
        days = plural(len(times.days), "day")
        when = f"on {days} from {times.days[0].day} to {times.days[-1].day} ({times.time_zone})"
    return (
        f"{what}: {plural(whole.exposures, 'exposure')} of {plural(whole.items, 'item')} to "
        f"{plural(whole.users, 'user')} in {plural(whole.visits, 'visit')}, {when}."
    )


def sections(found: Description) -> list[Section]:
    """All sections, in their order; those that a log has nothing for are left out."""
    parts = [_suspicious(found), _says(found), _funnel(found), _days(found), _spreads(found), _carts(found)]
    parts += [_events(found), features(found), _origin(found)]
    return [part for part in parts if part is not None]


def _suspicious(found: Description) -> Section:
    points = [f"**{each.seen}** {each.means} *What to do:* {each.remedy}" for each in found.findings]
    text = [LOOKED_FOR]
    untested = [label for label in ("click", "purchase") if all(column.auc[label] is None for column in found.columns)]
    if untested:
        text.append(
            f"Not asked: whether a feature tells the {' or the '.join(untested)}, since too few validation rows have "
            "it or lack it."
        )
    if found.times is None:
        text.append("Not asked: anything about days, hours and order, since the log has no times.")
    return Section("What is suspicious", [*text, *([] if points else ["**Nothing was found.**"])], points)


def _says(found: Description) -> Section | None:
    """Notes and what is missing, in the words of the manifest."""
    lacks = [f"The log {reason} (so there is no {fact})." for fact, reason in found.lacks.items()]
    calibrated = [CALIBRATED] if "calibration" in found.settings else []
    points = [*found.notes, *lacks, *calibrated]
    return Section("What the tables say of themselves", points=points) if points else None


def _funnel(found: Description) -> Section:
    splits = [split for split in ("all", *SPLITS) if split in found.splits]
    missing = {count for count, fact in _NEEDS.items() if fact in found.lacks}
    never = missing | {name for name in COUNTS if not getattr(found.splits["all"], name)}
    counts = [
        [name, *(MISSING if name in missing else number(getattr(found.splits[s], name)) for s in splits)]
        for name in COUNTS
    ]
    rates = [
        [
            rate,
            *(
                MISSING
                if never.intersection(of)
                else percent(getattr(found.splits[s], of[0]), getattr(found.splits[s], of[1]), 2)
                for s in splits
            ),
        ]
        for rate, of in RATES.items()
    ]
    text = [
        "An exposure is one item shown to one user in one visit; click, cart, wish and purchase are counted as "
        "exposures that have them. Users, items and visits are those with an exposure. “-” is what cannot be told.",
        "A purchase without a cart of its own has none as its label; “From cart to purchase” below also looks into the "
        "behaviour log.",
    ]
    tables = [
        Table("Counts", ["", *splits], counts),
        Table("Rates", ["share of", *splits], rates),
        _sparsity(found),
    ]
    return Section("The funnel", text, tables=tables)


def _sparsity(found: Description) -> Table:
    """The columns of ESMC Table III, with the range of the paper's cities below."""
    whole = found.splits["all"]
    ours = {name: float(getattr(whole, name, 0)) for name in PAPER}
    ours |= {f"{label}_sparsity": ours[f"{label}s"] / whole.exposures for label in ("click", "purchase")}
    paper = [city.model_dump() for city in load_published().table_iii.cities.values()]
    rows = [["this log"], ["the six cities of the paper"]]
    for name in PAPER:
        sparse = name.endswith("_sparsity")
        low, high = min(city[name] for city in paper), max(city[name] for city in paper)
        rows[0].append(f"{ours[name]:.5f}" if sparse else number(ours[name]))
        rows[1].append(f"{low:.5f} – {high:.5f}" if sparse else rough(low, high))
    title = "Sparsity, as in ESMC Table III (shares of the exposures)"
    return Table(title, ["", *PAPER.values()], rows, wide=(1, 2, 3, 4))


def _days(found: Description) -> Section | None:
    times = found.times
    if times is None:
        return None
    steps = ("exposures", "clicks", "carts", "wishes", "purchases")
    rows = [[str(day.day), *(number(getattr(day, step)) for step in steps), day.split] for day in times.days]
    header = [f"day ({times.time_zone})", *steps, "split"]
    pictures = {
        DAYS: "Exposures, clicks, carts, wishes and purchases per day, coloured by split",
        HOURS: "Share of the exposures by the hour of the day",
    }
    busiest = max(range(24), key=lambda hour: times.hours[hour])
    quietest = min(range(24), key=lambda hour: times.hours[hour])
    text = (
        f"Days and hours are counted in {times.time_zone}. Busiest hour {busiest}:00, quietest {quietest}:00. A day "
        "belongs to the split of most of its exposures."
    )
    return Section("Days and hours", [text], tables=[Table("Day by day", header, rows, folded=True)], pictures=pictures)


def _spreads(found: Description) -> Section:
    header = ["", "mean", *(_quantile(q) for q in QUANTILES), "largest", "share of the top 1 %"]
    text = [
        "Read: half of the users have at most the median. The last column is the share of all visits or exposures that "
        "the 1 % of users, visits or items with the most of them have."
    ]
    return Section(
        "Users, visits and items",
        text,
        tables=[Table("How many each has", header, [_spread_row(spread) for spread in found.spreads], wide=(2, 3, 5))],
        pictures={SPREADS: "Share of users, visits and items with so many visits or exposures or more"},
    )


def _spread_row(spread: Spread) -> list[str]:
    quantiles = [number(spread.quantiles[q]) for q in QUANTILES]
    name = f"{spread.what} per {spread.per}"
    return [name, f"{spread.mean:,.1f}", *quantiles, number(spread.largest), percent(spread.top_share)]


def _quantile(q: float) -> str:
    return "median" if q == 0.5 else f"{100 * q:g} %"


def _carts(found: Description) -> Section | None:
    title = "From cart to purchase"
    if "cart" in found.lacks or found.carts is None:
        reason = found.lacks.get("cart") or found.lacks.get("purchase") or "has no purchase"
        return Section(title, [f"Nothing can be said: the log {reason}."])
    kinds = {"of exposures": found.carts}
    if found.log_carts is not None:
        kinds["of the behaviour log"] = found.log_carts
    text = [
        "A good case is a purchase with a cart of the same user and item in its visit. A bad case has none there: "
        "models that chain click → cart → purchase take it for impossible, unless Sample Calibration finds its cart in "
        "an earlier visit.",
        _sentence(found.carts),
    ]
    if "visit" in found.lacks:
        text.append(f"But the log {found.lacks['visit']}, so “in its visit” says little here.")
    tables = [Table("Purchases", ["purchases", *kinds], _cart_rows(list(kinds.values())))]
    timed = [(name, carts) for name, carts in kinds.items() if carts.days is not None]
    if timed:
        header = ["time from the last cart", *map(_quantile, QUANTILES)]
        rows = [row for name, carts in timed for row in _gap_rows(name, carts)]
        tables.append(Table("How long a cart waits", header, rows, wide=(2, 4, 6)))
        rows = _day_rows([carts for _, carts in timed])
        header = ["days from the last cart", *(name for name, _ in timed)]
        tables.append(Table("Purchases by the days from the last cart", header, rows, folded=True))
    pictures = {CARTS: "Time and days from the last cart to the purchase"} if found.carts.days else {}
    return Section(title, text, tables=tables, pictures=pictures)


def _sentence(carts: Carts) -> str:
    bad = carts.purchases - carts.same_visit
    share, later = percent(bad, carts.purchases), percent(carts.earlier_day, carts.purchases)
    text = f"Of {plural(carts.purchases, 'purchase')} of exposures, {bad:,} ({share}) are bad cases"
    if carts.earlier is None or carts.earlier_day is None or not bad:
        return f"{text}."
    return (
        f"{text}; {carts.earlier:,} of these ({percent(carts.earlier, bad)}) have an earlier cart of the same user and "
        f"item in the log. For {carts.earlier_day:,} purchases ({later}) the last cart lies on an earlier day."
    )


def _cart_rows(kinds: list[Carts]) -> list[list[str]]:
    def row(name: str, parts: list[int | None]) -> list[str]:
        shares = zip(parts, kinds, strict=True)
        return [name, *(f"{number(n)} ({percent(n, c.purchases)})" if n is not None else MISSING for n, c in shares)]

    bad = [carts.purchases - carts.same_visit for carts in kinds]
    never = [None if c.earlier is None else n - c.earlier for n, c in zip(bad, kinds, strict=True)]
    return [
        ["all", *(number(carts.purchases) for carts in kinds)],
        row("good case: a cart in their visit", [carts.same_visit for carts in kinds]),
        row("bad case: no cart in their visit", [*bad]),
        row("  with a cart in an earlier visit", [carts.earlier for carts in kinds]),
        row("  without any cart before", never),
        row("last cart on an earlier day", [carts.earlier_day for carts in kinds]),
    ]


def _day_rows(kinds: list[Carts]) -> list[list[str]]:
    """Purchases by the number of days since their last cart."""
    days = sorted({day for carts in kinds for day in carts.days or {}})
    names = {0: "the same day", MOST_DAYS: f"{MOST_DAYS} days or more"}
    return [
        [names.get(day, plural(day, "day")), *(number((carts.days or {}).get(day, 0)) for carts in kinds)]
        for day in days
    ]


def _gap_rows(name: str, carts: Carts) -> list[list[str]]:
    return [
        [f"{case}, {name} ({gaps.purchases:,})", *(duration(gaps.quantiles[q]) for q in QUANTILES)]
        for case, gaps in (("same visit", carts.same_gaps), ("earlier visit", carts.earlier_gaps))
        if gaps is not None
    ]


def _events(found: Description) -> Section | None:
    if not found.events:
        return None
    domains = sorted({domain for by_domain in found.events.values() for domain in by_domain})
    rows = [[action, *(number(by.get(domain, 0)) for domain in domains)] for action, by in found.events.items()]
    text = ["All events of the table events, whether or not an exposure led to them; histories are made of them."]
    return Section("The behaviour log", text, tables=[Table("Events", ["action", *domains], rows)])


def _origin(found: Description) -> Section | None:
    counts = [[name, number(count)] for name, count in found.manifest_counts.items()]
    settings = [[name, json.dumps(value, ensure_ascii=False)] for name, value in found.settings.items()]
    tables = []
    if counts:
        tables.append(Table("Counts of the manifest", ["count", "rows"], counts, folded=True))
    if settings:
        tables.append(Table("Rules and settings of the manifest", ["setting", "value"], settings, folded=True))
    return Section("How the tables were made", ["As the manifest has it."], tables=tables) if tables else None
