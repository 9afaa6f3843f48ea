"""REES46 shops: the event logs of online shops, one CSV file per month.

How the events become a funnel:

- The exposure space is the set of product views: one row per product and visit (``user_session``). The log has no
  clicks apart from views, so every exposure counts as clicked: CTR is 1, and CVR is CTCVR. It has no wishes.
- A cart or purchase counts for the view of its product in its session. One without a view in its session stays an
  event. A cart that was emptied (``remove_from_cart``) was a cart.
- Category, brand and price are those of the view. Events without a session belong to the user's day.
- Times are UTC, as the files say; so are hours and days. Splits: days until 70 % of the exposures, 10 %, the rest.
"""

from __future__ import annotations

from typing import ClassVar

from bench.data.logs.spec import Actions, Columns, FeatureSpec, Spec
from bench.data.sources._files import find_files
from bench.data.sources._imported import ImportedLog, names_of

_CATEGORIES = ("category_id", "category_code", "brand")


class REES46(ImportedLog):
    """A shop of REES46; one city, ``shop``. ``--data-dir``: the folder with its monthly files, all of one shop."""

    name: ClassVar[str] = "rees46"
    summary: ClassVar[str] = "REES46 shop, events of views, carts and purchases (*.csv of one shop: 2019-Oct.csv, …)"
    city: ClassVar[str] = "shop"
    lacks: ClassVar[dict[str, str]] = {
        "wish": "has no wishes",
        "search": "does not tell carts of a search from others",
    }

    def specification(self) -> Spec:
        return Spec(
            name=self.name,
            files=names_of(find_files(self.name, self.options.data_dir, ["*.csv"])),
            format="csv",
            shape="events",
            columns=Columns(
                user="user_id", item="product_id", time="event_time", action="event_type", visit="user_session"
            ),
            actions=Actions(view=("view",), cart=("cart",), purchase=("purchase",), ignore=("remove_from_cart",)),
            features=(
                *(FeatureSpec(column=column) for column in _CATEGORIES),
                FeatureSpec(column="price", kind="numeric"),
            ),
        )
