"""JDsearch (Liu et al., SIGIR 2023): product searches of JD.com with their results, and the history of each user.

One line of ``release_data.txt`` (later ``user_behavior_data.txt``) is one search: query, candidate ids, candidate
labels, then queries, ids, types and time gaps of the user's history. How it becomes a funnel:

- There are no user ids. A search is one user, whose number is that of the search in the file, from 1, and one visit.
- A label is the deepest step of a candidate (0 none, 1 click, 2 cart, 3 purchase): every deeper step counts as all
  before it. So no purchase is without its cart, and cart labels cannot be carried from visit to visit.
- Candidates are search results, so exposures are of the domain search. What the history did after a query is too;
  what it did without one (query -1) is recommendation. ORD is a purchase, FLW (follow) a wish.
- The files list the candidates with a label first. That order would tell the label: ``position`` is the rank by the
  MD5 of search and candidate instead.
- The log has no dates, only gaps: gap k is the time from action k-1 to action k, the last one that from the last action
  to the search. All searches are of one day, says the paper: they stand at 2000-01-01, the history before it.
- The authors publish no split of the candidates. Searches whose number ends in 0 to 6 are training, 7 is
  validation, 8 and 9 are the test. Users of the test are thus unknown in training, and the user is no feature.
- ``product_data.txt`` (later ``product_meta_data.txt``) is optional: brand, four levels of categories, shop.
  Texts of products and categories are left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from bench.core.errors import UserError
from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules
from bench.data.source import Source
from bench.data.sources._files import find_file, fingerprint_of
from bench.data.sources._jdsearch_relations import PRODUCT_FEATURES, make_relations
from bench.data.sql import connect
from bench.data.tables import Feature

READER_VERSION = 1

_CITY = "jd"
_MEMORY = "4GB"
_SEARCHES = ("user_behavior_data.txt", "release_data.txt")
_PRODUCTS = ("product_meta_data.txt", "product_data.txt")
_RULES = Rules(shape="exposures", visit="column")
_FEATURES = (Feature(name="item", table="exposures"), Feature(name="query", table="users", kind="multi"))
_ITEM_FEATURES = tuple(Feature(name=name, table="items") for name in PRODUCT_FEATURES)
_NOTES = (
    "A search is one user and one visit: the log has no user ids. Test users are unknown in training.",
    "A label is the deepest step of a search result: a purchase counts as carted and clicked, so no bad case "
    "can be seen.",
    "Splits are by the number of the search (last digit 0 to 6 training, 7 validation, 8 and 9 test): the authors "
    "publish none.",
    "The log has no dates, only times before the search: every search stands at 2000-01-01 00:00 UTC.",
    "The files list search results with a label first; their order is not used.",
)


class JDSearch(Source):
    """JDsearch; one city, ``jd``. ``--data-dir``: the folder with the searches, and perhaps the products."""

    name: ClassVar[str] = "jdsearch"
    summary: ClassVar[str] = "JDsearch, product search at JD.com (release_data.txt; optional: product_data.txt)"
    lacks: ClassVar[dict[str, str]] = {
        "visit": "has one search of a user, with the deepest step of each result: every purchase has its cart",
        "wish": "has follows in the histories only",
        "search": "has search results only, no other domain beside them",
    }

    def cities(self) -> list[str]:
        return [_CITY]

    def fingerprint(self, city: str) -> str:
        self.require(city)
        searches, products = self._files()
        files = [searches, *([products] if products else [])]
        return fingerprint_of(self.name, READER_VERSION, city, files)

    def write(self, city: str, folder: Path) -> None:
        fingerprint = self.fingerprint(city)
        searches, products = self._files()
        scratch = folder / "scratch"
        scratch.mkdir()
        try:
            with connect(scratch, _MEMORY) as connection:
                make_relations(connection, searches, products)
                log = Log(
                    dataset=self.label,
                    city=city,
                    fingerprint=fingerprint,
                    features=_FEATURES + (_ITEM_FEATURES if products else ()),
                    rules=_RULES,
                    lacks=self.lacks,
                    notes=_NOTES,
                    settings={"reader": READER_VERSION},
                )
                write_funnel(connection, log, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _files(self) -> tuple[Path, Path | None]:
        """The searches, and the products where they are there."""
        searches = find_file(self.name, self.options.data_dir, _SEARCHES)
        try:
            return searches, find_file(self.name, self.options.data_dir, _PRODUCTS)
        except UserError:
            return searches, None
