from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from behaviour_logs import DAY, Match, by_hand, random_log, records
from tiny_tables import Columns, encoded, rows, write_tables

from bench.data.calibration import CART_DOMAINS, match_carts, summarise
from bench.data.checks import check_tables
from bench.data.encoded import LABEL_COLUMNS
from bench.data.encoding import EncodingSettings
from bench.data.sql import open_tables

Found = dict[int, Match | None]


def matched(connection: duckdb.DuckDBPyConnection, domain: str, window_days: float | None) -> Found:
    """What is found in open tables, after a look at the summary."""
    match_carts(connection, domain, window_days).create("matches")
    found = connection.execute("SELECT purchase, matched, cart, domain, visit, days FROM matches").fetchall()
    summary = summarise(connection, "matches")
    connection.execute("DROP TABLE matches")
    assert [row[0] for row in found] == sorted({row[0] for row in found})
    pairs = {purchase: Match(*cart) if is_matched else None for purchase, is_matched, *cart in found}
    carts = [cart for cart in pairs.values() if cart]
    assert {tuple(row[2:]) for row in found if not row[1]} <= {(None,) * 4}
    assert (summary.bad_cases, summary.matched) == (len(found), len(carts))
    assert summary.unmatched == summary.bad_cases - summary.matched
    assert summary.matched_without_exposure == sum(cart.cart is None for cart in carts)
    domains = Counter(cart.domain for cart in carts)
    assert summary.matched_by_domain == {name: domains[name] for name in ("recommendation", "search")}
    cleared = len(carts) - summary.matched_without_exposure
    assert summary.changed == {"copy": len(carts), "move": len(carts) + cleared, "none": 0}
    return pairs


def matches(
    folder: Path,
    exposures: Columns,
    events: Columns | None = None,
    domain: str = "recommendation",
    window_days: float | None = None,
) -> dict[int, int | str | None]:
    """Purchases with their carts: the exposure, or ``visit …`` where it has none; None where there is no cart."""
    tables: dict[str, Any] = {"exposures": exposures} | ({} if events is None else {"events": events})
    with duckdb.connect(config={"threads": 1}) as connection:
        open_tables(connection, write_tables(folder, **tables))
        found = matched(connection, domain, window_days)
    return {
        purchase: cart and (f"visit {cart.visit}" if cart.cart is None else cart.cart)
        for purchase, cart in found.items()
    }


def log(*values: tuple) -> Columns:
    """(visit, time in days, item, cart, purchase) of one user; every row is clicked."""
    columns = rows("visit time item cart purchase", *values)
    columns["time"] = [int(day * DAY) for day in columns["time"]]
    return columns | {"user": [1] * len(values), "click": [1] * len(values)}


def behaviour(*values: tuple) -> Columns:
    """(visit, time in days, item, action, domain) of the same user."""
    columns = rows("visit time item action domain", *values)
    columns["time"] = [int(day * DAY) for day in columns["time"]]
    return columns | {"user": [1] * len(values)}


def test_a_purchase_takes_the_latest_unconsumed_cart(tmp_path: Path) -> None:
    found = matches(
        tmp_path,
        log(
            (0, 0, 7, 1, 0),  # oldest cart
            (1, 1, 7, 1, 0),  # latest cart before the first purchase
            (1, 1, 8, 1, 0),  # another item
            (2, 2, 7, 0, 1),  # takes exposure 1
            (3, 3, 7, 0, 1),  # takes exposure 0
            (4, 4, 7, 0, 1),  # nothing is left
            (5, 5, 7, 1, 0),  # a cart after the purchases
        ),
    )
    assert found == {3: 1, 4: 0, 5: None}


def test_a_cart_bought_in_its_own_visit_is_consumed(tmp_path: Path) -> None:
    assert matches(tmp_path, log((0, 0, 7, 1, 1), (1, 1, 7, 0, 1))) == {1: None}


def test_a_purchase_with_another_cart_of_the_item_in_its_visit_is_a_good_case(tmp_path: Path) -> None:
    assert matches(tmp_path, log((0, 0, 7, 1, 0), (1, 1, 7, 1, 0), (1, 1.5, 7, 0, 1))) == {}


def test_an_unmatched_purchase_consumes_nothing_later(tmp_path: Path) -> None:
    found = matches(tmp_path, log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1), (2, 2, 7, 1, 0), (3, 3, 7, 0, 1)))
    assert found == {0: None, 1: None, 3: 2}


def test_equal_times_are_ordered_by_exposure(tmp_path: Path) -> None:
    assert matches(tmp_path, log((0, 0, 7, 1, 0), (1, 0, 7, 1, 0), (2, 0, 7, 0, 1), (3, 0, 7, 1, 0))) == {2: 1}


def test_every_exposure_with_a_cart_is_a_cart(tmp_path: Path) -> None:
    twice = log((0, 0, 7, 1, 0), (0, 0, 7, 1, 0), (1, 1, 7, 0, 1), (2, 2, 7, 0, 1))
    assert matches(tmp_path, twice) == {2: 1, 3: 0}


def test_a_cart_outside_the_window_does_not_match(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 2, 7, 0, 1))
    assert matches(tmp_path, exposures, window_days=2) == {1: 0}
    assert matches(tmp_path, exposures, window_days=1.99) == {1: None}


def test_carts_of_searched_exposures_match_globally_and_make_their_visit_a_good_case(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 1, 7, 0, 1), (2, 2, 8, 1, 0), (2, 2, 8, 0, 1))
    exposures["domain"] = ["search", "recommendation", "search", "recommendation"]
    assert matches(tmp_path, exposures) == {1: None}
    assert matches(tmp_path, exposures, domain="global") == {1: 0}


def test_only_training_rows_take_part(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 1, 7, 0, 1)) | {"split": ["train", "valid"]}
    assert matches(tmp_path, exposures) == {}


def test_carts_from_before_the_first_exposure_match(tmp_path: Path) -> None:
    events = behaviour((50, -3, 7, "cart", "recommendation"), (51, -2, 7, "cart", "recommendation"))
    exposures = log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1), (2, 2, 7, 0, 1))
    assert matches(tmp_path, exposures) == {0: None, 1: None, 2: None}
    assert matches(tmp_path, exposures, events) == {0: "visit 51", 1: "visit 50", 2: None}
    assert matches(tmp_path, exposures, events, window_days=2) == {0: "visit 51", 1: None, 2: None}


def test_carts_of_search_match_globally_only(tmp_path: Path) -> None:
    events = behaviour((0, 0.1, 7, "cart", "search"), (9, 0.2, 8, "cart", "search"))
    exposures = log((0, 0, 5, 0, 0), (1, 1, 7, 0, 1))
    assert matches(tmp_path, exposures, events) == {1: None}
    assert matches(tmp_path, exposures, events, domain="global") == {1: "visit 0"}


def test_the_latest_cart_of_any_domain_matches_globally(tmp_path: Path) -> None:
    events = behaviour((0, 0, 7, "cart", "recommendation"), (50, 1, 7, "cart", "search"))
    exposures = log((0, 0, 7, 1, 0), (1, 2, 7, 0, 1))
    assert matches(tmp_path, exposures, events) == {1: 0}
    assert matches(tmp_path, exposures, events, domain="global") == {1: "visit 50"}


def test_an_event_of_a_cart_that_an_exposure_has_is_not_offered_again(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 2, 7, 0, 1), (2, 3, 7, 0, 1))
    events = behaviour((0, 0.1, 7, "cart", "recommendation"), (0, 0.2, 7, "cart", "search"))
    for domain in CART_DOMAINS:
        assert matches(tmp_path, exposures, events, domain=domain) == {1: 0, 2: None}


def test_a_cart_beside_an_exposure_without_one_counts(tmp_path: Path) -> None:
    events = behaviour((0, -0.1, 7, "cart", "recommendation"))
    assert matches(tmp_path, log((0, 0, 7, 0, 0), (1, 2, 7, 0, 1)), events) == {1: "visit 0"}


@pytest.mark.parametrize("domain", ["recommendation", "search"])
@pytest.mark.parametrize("time", [0.5, 1.5])
def test_a_cart_event_in_the_visit_makes_a_good_case(tmp_path: Path, domain: str, time: float) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 1, 7, 0, 1))
    assert matches(tmp_path, exposures, behaviour((1, time, 7, "cart", domain))) == {}
    assert matches(tmp_path, exposures, behaviour((1, time, 8, "cart", domain))) == {1: 0}


@pytest.mark.parametrize("bought", ["event", "exposure"])
def test_a_logged_cart_whose_visit_bought_the_item_is_consumed(tmp_path: Path, bought: str) -> None:
    carts = [(9, 0, 7, "cart", "search")]
    exposures = log((0, 0, 5, 0, 0), (2, 2, 7, 0, 1))
    assert matches(tmp_path, exposures, behaviour(*carts), domain="global") == {1: "visit 9"}
    if bought == "event":
        carts += [(9, 0.1, 7, "purchase", "search")]
    else:
        exposures = log((9, 0, 7, 0, 1), (2, 2, 7, 0, 1))
    assert matches(tmp_path, exposures, behaviour(*carts), domain="global") == {1: None}


def test_an_exposed_cart_whose_purchase_is_an_event_of_its_visit_is_consumed(tmp_path: Path) -> None:
    events = behaviour((0, 0.1, 7, "purchase", "search"))
    assert matches(tmp_path, log((0, 0, 7, 1, 0), (1, 1, 7, 0, 1)), events) == {1: None}


def test_a_purchase_without_exposure_consumes_a_cart(tmp_path: Path) -> None:
    events = behaviour(
        (50, -4, 7, "cart", "recommendation"),
        (51, -3, 7, "cart", "recommendation"),
        (52, -2, 7, "purchase", "recommendation"),  # takes the cart of visit 51
        (52, -1.9, 7, "purchase", "search"),  # the same purchase
    )
    assert matches(tmp_path, log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1)), events) == {0: "visit 50", 1: None}
    exposures = log((52, -2, 7, 1, 0), (0, 0, 7, 0, 1), (1, 1, 7, 0, 1))  # the event took the cart of its exposure
    assert matches(tmp_path, exposures, events) == {1: "visit 51", 2: "visit 50"}
    events["visit"][2:] = [51, 51]  # in the visit of its cart: that one is consumed, and no other
    assert matches(tmp_path, log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1)), events) == {0: "visit 50", 1: None}


def test_a_purchase_without_exposure_counts_at_its_first_time(tmp_path: Path) -> None:
    events = behaviour(
        (50, -4, 7, "cart", "recommendation"),
        (52, -1, 7, "purchase", "search"),
        (52, -3, 7, "purchase", "search"),  # takes the cart of visit 50
        (51, -2, 7, "cart", "recommendation"),
    )
    assert matches(tmp_path, log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1)), events) == {0: "visit 51", 1: None}


def test_the_event_of_a_purchase_does_not_consume_a_second_cart(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (1, 1, 7, 1, 0), (2, 2, 7, 0, 1), (3, 3, 7, 0, 1))
    events = behaviour((2, 2.1, 7, "purchase", "recommendation"), (3, 3.1, 7, "purchase", "recommendation"))
    assert matches(tmp_path, exposures, events) == {2: 1, 3: 0}


def test_several_cart_events_of_a_visit_are_one_cart_at_its_first_time(tmp_path: Path) -> None:
    events = behaviour(
        (50, -2, 7, "cart", "search"), (50, -5, 7, "cart", "recommendation"), (50, -3, 7, "cart", "recommendation")
    )
    exposures = log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1))
    for domain in CART_DOMAINS:
        assert matches(tmp_path, exposures, events, domain=domain) == {0: "visit 50", 1: None}
        assert matches(tmp_path, exposures, events, domain=domain, window_days=4.9) == {0: None, 1: None}


@pytest.mark.parametrize("second", [0, 0.1])
def test_a_cart_of_both_domains_has_that_of_its_first_time(tmp_path: Path, second: float) -> None:
    """At equal times it is a recommendation."""
    events = behaviour((50, second, 7, "cart", "search"), (50, 0, 7, "cart", "recommendation"))
    tables = write_tables(tmp_path, exposures=log((0, 1, 7, 0, 1)), events=events)
    with duckdb.connect(config={"threads": 1}) as connection:
        open_tables(connection, tables)
        assert matched(connection, "global", None) == {0: Match(None, "recommendation", 50, 1.0)}


def test_events_without_a_visit_are_a_visit_per_second(tmp_path: Path) -> None:
    cart, purchase = (None, -2, 7, "cart", "search"), (None, -1, 7, "purchase", "search")
    exposures = log((0, 0, 7, 0, 1), (1, 1, 7, 0, 1), (2, 2, 7, 0, 1))
    found = matches(tmp_path, exposures, behaviour(cart, cart, (None, -3, *cart[2:])), domain="global")
    assert found == {0: "visit None", 1: "visit None", 2: None}
    assert matches(tmp_path, exposures, behaviour(cart, purchase), domain="global") == dict.fromkeys(range(3))
    assert matches(tmp_path, exposures, behaviour(cart, (None, -2, *purchase[2:])), domain="global") == dict.fromkeys(
        range(3)
    )


def test_carts_of_equal_time_without_exposure_come_first_and_by_visit(tmp_path: Path) -> None:
    events = behaviour((60, 0, 7, "cart", "search"), (None, 0, 7, "cart", "search"), (55, 0, 7, "cart", "search"))
    exposures = log((0, 0, 7, 1, 0), *((visit, visit, 7, 0, 1) for visit in range(1, 6)))
    assert matches(tmp_path, exposures, events, domain="global") == {
        1: 0,
        2: "visit 60",
        3: "visit 55",
        4: "visit None",
        5: None,
    }


def test_a_logged_cart_in_the_second_of_the_purchase_matches(tmp_path: Path) -> None:
    events = behaviour((60, 1, 7, "cart", "search"))
    assert matches(tmp_path, log((0, 1, 7, 0, 1)), events, domain="global") == {0: "visit 60"}


def test_events_from_the_first_evaluation_exposure_on_are_left_out(tmp_path: Path) -> None:
    exposures = log((0, 0, 5, 0, 0), (1, 2, 5, 0, 0), (0, 3, 7, 0, 1)) | {"split": ["train", "valid", "train"]}
    for time, found in ((1.99, "visit 60"), (2, None), (2.5, None), (3.5, None)):
        events = behaviour((60, time, 7, "cart", "search"))
        assert matches(tmp_path, exposures, events, domain="global") == {2: found}


def test_planted_later_events_change_nothing(tmp_path: Path) -> None:
    """Carts and purchases of every user and item from the end of the training rows on."""
    changed = 0
    for seed in range(1, 7):
        exposures, events = random_log(seed)
        stop = min((t for t, s in zip(exposures["time"], exposures["split"], strict=True) if s != "train"), default=0)
        for shift in (0, -25 * DAY):
            later = [
                (user, item, stop + second + shift, 5000 + 10 * user + second, action, "recommendation")
                for user in range(3)
                for item in range(4)
                for second, action in ((0, "cart"), (1, "cart"), (2, "purchase"))
            ]
            planted = {name: [*events[name], *(row[i] for row in later)] for i, name in enumerate(events)}
            names = ("user", "item", "time", "visit", "action", "domain")
            assert tuple(events) == names
            for domain in CART_DOMAINS:
                before = matches(tmp_path, exposures, events, domain)
                after = matches(tmp_path, exposures, planted, domain)
                if shift:
                    changed += before != after
                else:
                    assert before == after
    assert changed > 3  # the same events, planted earlier, do change something


def test_against_the_definition_on_random_logs(tmp_path: Path) -> None:
    outcomes: Counter[Any] = Counter()
    for seed in range(30):
        exposures, events = random_log(seed)
        tables: dict[str, Any] = {"exposures": exposures} | ({"events": events} if seed % 10 else {})
        nothing = {name: [] for name in events}
        folder = write_tables(tmp_path / str(seed), **tables)
        assert check_tables(folder) == []
        with duckdb.connect(config={"threads": 1}) as connection:
            open_tables(connection, folder)
            for domain in CART_DOMAINS:
                for window_days in (None, 3.0):
                    found = matched(connection, domain, window_days)
                    assert found == by_hand(exposures, tables.get("events", nothing), domain, window_days), seed
                    carts = [cart.cart for cart in found.values() if cart and cart.cart is not None]
                    assert len(set(carts)) == len(carts)
                    for cart in found.values():
                        outcomes[domain, window_days, cart and (cart.domain, cart.cart is None)] += 1
    kinds = [(domain, shown) for domain in ("recommendation", "search") for shown in (False, True)]
    wanted = {(domain, window, None) for domain in CART_DOMAINS for window in (None, 3.0)}
    wanted |= {("global", window, kind) for window in (None, 3.0) for kind in kinds}
    wanted |= {("recommendation", window, kind) for window in (None, 3.0) for kind in kinds[:2]}
    assert set(outcomes) == wanted
    assert min(outcomes.values()) > 5, outcomes


def expected_labels(exposures: Columns, events: Columns, window_days: float | None) -> dict[str, list[int]]:
    """The columns of cart labels in the order of the exposure ids, from the definition."""
    shown = sorted(records(exposures), key=lambda row: row["exposure"])
    carted = {(row["user"], row["item"], row["visit"]) for row in shown if row["cart"]}
    logged = {(row["user"], row["item"], row["visit"]) for row in records(events) if row["action"] == "cart"} - carted
    places = [(row["user"], row["item"], row["visit"]) for row in shown]
    cart = [row["cart"] for row in shown]
    anywhere = [
        int(row["cart"] or (row["click"] and place in logged)) for row, place in zip(shown, places, strict=True)
    ]
    columns = {"cart": cart, "global_none": anywhere}
    for domain, name, base in (("recommendation", "cart", cart), ("global", "global", anywhere)):
        found = by_hand(exposures, events, domain, window_days)
        copied, moved = list(base), list(base)
        for purchase, match in found.items():
            if match is None:
                continue
            copied[purchase] = moved[purchase] = 1
            if match.cart is not None:
                moved[match.cart] = 0
            elif domain == "global":
                for exposure, place in enumerate(places):
                    if place == (*places[purchase][:2], match.visit):
                        moved[exposure] = 0
        columns |= {f"{name}_copy": copied, f"{name}_move": moved}
    return columns


def test_the_encoded_labels_against_the_definition_on_random_logs(tmp_path: Path) -> None:
    apart: Counter[str] = Counter()
    for seed in range(24):
        exposures, events = random_log(seed)
        window_days = None if seed % 3 else 4.0
        tables = write_tables(tmp_path / str(seed), exposures=exposures, events=events)
        city = encoded(tables, EncodingSettings(window_days=window_days))
        labels = dict(zip(LABEL_COLUMNS, city.labels[city.exposure.argsort()].T.tolist(), strict=True))
        expected = expected_labels(exposures, events, window_days)
        assert {name: labels[name] for name in expected} == expected, seed
        evaluated = city.labels[city.rows("valid").start :]
        for name, base in {name: "global_none" if "global" in name else "cart" for name in expected}.items():
            index, other = LABEL_COLUMNS.index(name), LABEL_COLUMNS.index(base)
            assert (evaluated[:, index] == evaluated[:, other]).all()
            assert (city.labels[:, index] <= city.labels[:, 0]).all()
            apart[name] += int((city.labels[:, index] != city.labels[:, other]).sum())
        apart["evaluated"] += int((evaluated[:, 1] != evaluated[:, LABEL_COLUMNS.index("global_none")]).sum())
    changing = {name: count for name, count in apart.items() if name not in ("cart", "global_none")}
    assert len(changing) == 5
    assert min(changing.values()) > 5, changing


def test_modes_change_the_training_labels_only(tmp_path: Path) -> None:
    exposures = log(
        (0, 0, 7, 1, 0), (1, 2, 7, 0, 1), (2, 3, 8, 1, 1), (3, 4, 9, 0, 1), (4, 5, 7, 1, 0), (5, 6, 7, 0, 1)
    ) | {"split": ["train"] * 4 + ["test"] * 2}
    events = behaviour((50, -1, 9, "cart", "search"), (5, 6, 7, "cart", "search"))
    city = encoded(write_tables(tmp_path / "tables", exposures=exposures, events=events))
    assert city.exposure.tolist() == [0, 1, 2, 3, 4, 5]
    labels = dict(zip(LABEL_COLUMNS, city.labels.T.tolist(), strict=True))
    assert labels["cart"] == [1, 0, 1, 0, 1, 0]
    assert labels["purchase"] == [0, 1, 1, 1, 0, 1]
    assert labels["cart_copy"] == [1, 1, 1, 0, 1, 0]
    assert labels["cart_move"] == [0, 1, 1, 0, 1, 0]
    assert labels["global_none"] == [1, 0, 1, 0, 1, 1]
    assert labels["global_copy"] == [1, 1, 1, 1, 1, 1]
    assert labels["global_move"] == [0, 1, 1, 1, 1, 1]
    assert list(city.meta.calibration) == ["recommendation", "global"]
    narrow, wide = city.meta.calibration.values()
    assert (narrow.bad_cases, narrow.matched, narrow.unmatched, narrow.matched_without_exposure) == (2, 1, 1, 0)
    assert narrow.changed == {"copy": 1, "move": 2, "none": 0}
    assert narrow.median_days == 2.0
    assert (wide.bad_cases, wide.matched, wide.unmatched, wide.matched_without_exposure) == (2, 2, 0, 1)
    assert wide.matched_by_domain == {"recommendation": 1, "search": 1}
    assert wide.changed == {"copy": 2, "move": 3, "none": 0}
    assert wide.median_days == 3.5


def test_a_search_cart_counts_for_clicked_rows_of_its_visit_only(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 0, 0), (0, 0, 8, 0, 1), (1, 1, 7, 0, 0), (2, 2, 7, 0, 1)) | {"click": [1, 0, 1, 1]}
    events = behaviour((0, 0.1, 7, "cart", "search"), (0, 0.1, 8, "cart", "search"))
    city = encoded(write_tables(tmp_path / "tables", exposures=exposures, events=events))
    labels = dict(zip(LABEL_COLUMNS, city.labels.T.tolist(), strict=True))
    assert labels["cart_move"] == [0, 0, 0, 0]
    assert labels["global_none"] == [1, 0, 0, 0]
    assert labels["global_copy"] == [1, 0, 0, 1]
    assert labels["global_move"] == [0, 0, 0, 1]


def test_a_logged_cart_that_an_exposure_has_gives_its_other_rows_no_label(tmp_path: Path) -> None:
    exposures = log((0, 0, 7, 1, 0), (0, 0, 7, 0, 0))
    events = behaviour((0, 0, 7, "cart", "recommendation"))
    city = encoded(write_tables(tmp_path / "tables", exposures=exposures, events=events))
    assert city.labels[:, LABEL_COLUMNS.index("global_none")].tolist() == [1, 0]


def test_the_window_is_a_setting_of_the_encoding(tmp_path: Path) -> None:
    tables = write_tables(tmp_path / "tables", exposures=log((0, 0, 7, 1, 0), (1, 2, 7, 0, 1)))
    city = encoded(tables, EncodingSettings(window_days=1.0))
    assert {domain: found.matched for domain, found in city.meta.calibration.items()} == {
        "recommendation": 0,
        "global": 0,
    }
    assert city.labels[:, 4].tolist() == [1, 0]
