"""RetailRocket: the event log of an online shop (views, carts, transactions), May to September 2015.

How the events become a funnel:

- The exposure space is the set of item views: one row per item and visit, which ends after 30 minutes of inactivity.
  The log has no clicks apart from views, so every exposure counts as clicked: CTR is 1, and CVR is CTCVR. It has no
  wishes.
- A cart or transaction counts for the view of its item in its visit. One without a view before it in its visit stays
  an event.
- ``item_properties_part1.csv``, ``item_properties_part2.csv`` and ``category_tree.csv`` are not read: properties are
  weekly snapshots, and where the first one of an item is later than a view, its value would be one of the future. User,
  item, hour and weekday are what models know of a view.
- Hours and days are UTC: the place of the shop is not published. Splits: days until 70 % of the exposures, 10 %, the
  rest.
"""

from __future__ import annotations

from typing import ClassVar

from bench.data.logs.spec import Actions, Columns, Spec, Times
from bench.data.sources._files import find_file
from bench.data.sources._imported import ImportedLog, names_of


class RetailRocket(ImportedLog):
    """RetailRocket; one city, ``shop``. ``--data-dir``: the folder with ``events.csv``."""

    name: ClassVar[str] = "retailrocket"
    summary: ClassVar[str] = "RetailRocket, events of views, carts and transactions of a shop (events.csv)"
    city: ClassVar[str] = "shop"
    lacks: ClassVar[dict[str, str]] = {
        "wish": "has no wishes",
        "search": "does not tell carts of a search from others",
    }
    notes: ClassVar[tuple[str, ...]] = (
        "Properties of items are not used: they are weekly snapshots, and the first may be later than a view.",
    )

    def specification(self) -> Spec:
        return Spec(
            name=self.name,
            files=names_of([find_file(self.name, self.options.data_dir, ["events.csv"])]),
            format="csv",
            shape="events",
            columns=Columns(user="visitorid", item="itemid", time="timestamp", action="event"),
            time=Times(unit="ms"),
            actions=Actions(view=("view",), cart=("addtocart",), purchase=("transaction",)),
        )
