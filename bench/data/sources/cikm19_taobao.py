"""A user sample of the Taobao log of the CIKM 2019 EComm AI contest, 2019-06-10 to 06-19.

How the events become a funnel:

- The log has days, not times, and no exposures: a visit is a user's day in Shanghai, and its clicks stand for
  exposures, one row per item and day. So CTR is 1, and CVR is CTCVR. Every event is at local midnight; the hour is no
  feature.
- A cart, wish or purchase counts for the click of its item on its day; without one it stays an event. Rows that occur
  twice on a day count once: the log cannot tell a second click from a repeated row.
- Splits: 06-18 and 06-19 are the test, 06-17 is validation. Most purchases (4 in 5) are of 06-16 to 06-18, so that each
  split has one of these days.
- In the features -1 is "not known", as published; brand 0 is no brand.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from bench.data.logs.spec import Actions, Columns, FeatureSpec, Side, Spec, SplitsSpec, Times, Visits
from bench.data.sources._files import find_file
from bench.data.sources._imported import ImportedLog, names_of

_EVENTS = ("user", "item", "type", "day")
_ITEMS = ("item", "top_category", "category", "brand", "price")
_USERS = ("user", "gender", "age_level", "education", "career", "income", "stages")


class CIKM19Taobao(ImportedLog):
    """The Taobao log of CIKM 2019; one city, ``taobao``. ``--data-dir``: the folder with the three files."""

    name: ClassVar[str] = "cikm19_taobao"
    summary: ClassVar[str] = (
        "Taobao, CIKM 2019 EComm AI, a sample of users (ecomm_edge_train.txt, ecomm_item_feature.txt, "
        "ecomm_user_feature.txt)"
    )
    city: ClassVar[str] = "taobao"
    lacks: ClassVar[dict[str, str]] = {"search": "does not tell carts of a search from others"}
    notes: ClassVar[tuple[str, ...]] = (
        "The log is a sample of users (1,476 as published), with days instead of times: the order of a day's actions "
        "is not known, and repeated rows of a day count once.",
        "Most purchases are of 2019-06-16 to 06-18: training, validation and test each have one of these days.",
    )

    def specification(self) -> Spec:
        return Spec(
            name=self.name,
            files=self._file("ecomm_edge_train.txt"),
            format="csv",
            delimiter="\t",
            header=False,
            names=_EVENTS,
            shape="events",
            time_zone="Asia/Shanghai",
            columns=Columns(user="user", item="item", time="day", action="type"),
            time=Times(unit="yyyymmdd"),
            actions=Actions(click=("1",), wish=("2",), cart=("3",), purchase=("4",)),
            visits=Visits(by="day"),
            splits=SplitsSpec(valid_from=date(2019, 6, 17), test_from=date(2019, 6, 18)),
            items=self._side("item", "ecomm_item_feature.txt", _ITEMS, numeric="price"),
            users=self._side("user", "ecomm_user_feature.txt", _USERS, numeric="income", multi="stages"),
        )

    def _file(self, name: str) -> tuple[str, ...]:
        return names_of([find_file(self.name, self.options.data_dir, [name])])

    def _side(self, key: str, name: str, names: tuple[str, ...], numeric: str, multi: str | None = None) -> Side:
        def feature(column: str) -> FeatureSpec:
            if column == multi:
                return FeatureSpec(column=column, kind="multi", separator=",")
            return FeatureSpec(column=column, kind="numeric" if column == numeric else "categorical")

        features = tuple(feature(column) for column in names if column != key)
        return Side(
            files=self._file(name),
            format="csv",
            delimiter="\t",
            header=False,
            names=names,
            key=key,
            features=features,
        )
