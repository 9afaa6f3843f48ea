"""Taobao display ads (Tianchi 56, Ali_Display_Ad_Click): exposures and clicks of ads, and the behaviour of their users.

How the files become a funnel:

- The item is the pair (category, brand), the number ``category * 2^32 + brand``: all that the behaviour log knows of a
  product. The ad, its campaign, customer, price and place (``pid``) are features of the exposure.
- A cart, wish or purchase counts for the latest clicked exposure of its user, category and brand at most
  ``WINDOW_MINUTES`` before it. That is the gap of inactivity that ends a visit, so it lies in the click's own visit,
  as funnel tables promise. A longer window would take in more of other products of the brand, and be cut short on the
  test day, the log's last. What comes later, or without a click, stays an event: histories and Sample Calibration see
  it.
- An ad without a brand is left out, since nobody can tell what was carted or bought after its click.
- A page view (``pv``) is no exposure of an ad. Of categories and brands that some ad shows it is a ``browse`` event.
- Behaviour of days out of the published range (the raw log has some), of users without an exposure, without a category
  or brand, or of one that no ad shows is left out. ``left_out`` in the manifest's ``settings`` counts all of this.
- Days are those of Shanghai. Exposures are of 2017-05-06 to 05-13, behaviour of 2017-04-22 to 05-13. The last day is
  the test by convention; the day before it is validation.
- The log has no places of ads on a page: ``position`` numbers the ads that a user saw in one second.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import ClassVar

from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules, Splits
from bench.data.source import Source
from bench.data.sources._files import find_file, fingerprint_of
from bench.data.sources._taobao_ads_relations import FILES, PROFILE, WINDOW_MINUTES, ZONE, make_relations
from bench.data.sql import connect
from bench.data.tables import Feature

READER_VERSION = 1

_CITY = "taobao"
_MEMORY = "4GB"
_RULES = Rules(
    shape="exposures",
    gap_minutes=WINDOW_MINUTES,
    time_zone=ZONE,
    splits=Splits(valid_from=date(2017, 5, 12), test_from=date(2017, 5, 13)),
)
_FEATURES = (
    *(Feature(name=n, table="exposures") for n in ("user", "item", "ad", "campaign", "customer", "pid", "hour")),
    Feature(name="price", table="exposures", kind="numeric"),
    *(Feature(name=n, table="items") for n in ("category", "brand")),
    *(Feature(name=n, table="users") for n in PROFILE),
)


class TaobaoAds(Source):
    """Taobao display ads; one city, ``taobao``. ``--data-dir``: the folder with the four files."""

    name: ClassVar[str] = "taobao_ads"
    summary: ClassVar[str] = (
        "Taobao display ads, Tianchi 56 (raw_sample.csv, ad_feature.csv, user_profile.csv, behavior_log.csv)"
    )
    lacks: ClassVar[dict[str, str]] = {"search": "does not tell carts of a search from others"}

    def cities(self) -> list[str]:
        return [_CITY]

    def fingerprint(self, city: str) -> str:
        self.require(city)
        return fingerprint_of(self.name, READER_VERSION, city, self._files().values())

    def write(self, city: str, folder: Path) -> None:
        fingerprint = self.fingerprint(city)
        scratch = folder / "scratch"
        scratch.mkdir()
        try:
            with connect(scratch, _MEMORY) as connection:
                left_out = make_relations(connection, self._files())
                log = Log(
                    dataset=self.label,
                    city=city,
                    fingerprint=fingerprint,
                    features=_FEATURES,
                    rules=_RULES,
                    lacks=self.lacks,
                    notes=_notes(left_out),
                    settings={"reader": READER_VERSION, "window_minutes": WINDOW_MINUTES, "left_out": left_out},
                )
                write_funnel(connection, log, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _files(self) -> dict[str, Path]:
        return {name: find_file(self.name, self.options.data_dir, [f"{name}.csv"]) for name in FILES}


def _notes(left_out: dict[str, int]) -> tuple[str, ...]:
    return (
        "An item is a pair of category and brand, since the behaviour log knows no more of a product: another product "
        "of the same category and brand counts as the advertised one.",
        "Cart, wish and purchase labels: an action counts for the latest clicked exposure of its user and item at most "
        f"{WINDOW_MINUTES} minutes before it, the gap that ends a visit.",
        f"{left_out['exposures_without_brand']} exposures of ads without a brand are left out: the log cannot tell "
        "their carts and purchases.",
        "The last day, 2017-05-13, is the test by convention; 2017-05-12 is validation.",
    )
