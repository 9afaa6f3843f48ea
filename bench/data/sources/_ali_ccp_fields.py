"""The fields of Ali-CCP and how they are read: SQL over texts of features.

A text is features separated by ``\\x01``, each ``field \\x02 id \\x03 weight``. What the fields mean is said on the
page of the data set (Tianchi 408); their names are ours.

========== ================== ========================================================================
field      column             meaning
========== ================== ========================================================================
101        user               user
121, 122   profile,           category and group of the user's profile
           profile_group
124 … 129  gender … geography gender, age, consumption level of two types, occupation, geography
109_14     past_categories    categories that the user dealt with, weighted by how often
110_14     past_shops         shops, likewise
127_14     past_brands        brands, likewise
150_14     past_intentions    intention nodes, likewise
205        item               item
206, 207   category, shop     category and shop of the item
210        intentions         intention nodes of the item (several)
216        brand              brand of the item
508        category_habit     combination of 109_14 and 206, weighted
509        shop_habit         combination of 110_14 and 207, weighted
702        brand_habit        combination of 127_14 and 216, weighted
853        intention_habits   combination of 150_14 and 210, weighted (several)
301        place              a categorical expression of the position
========== ================== ========================================================================

Of a field with several values the ``MOST`` with the greatest weights are kept, the lower id first among equal ones.
The greatest weight of a combination is a number of its own, ``…_weight``.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.data.sql import text
from bench.data.tables import Feature

#: Values that are kept of a field with several.
MOST = 8
#: Training rows that an id needs, as in the public preparations of the data set.
MIN_COUNT = 10

#: Column to field, one value each: of the common features, then of the sample.
COMMON: Mapping[str, str] = {
    "profile": "121",
    "profile_group": "122",
    "gender": "124",
    "age": "125",
    "consumption": "126",
    "consumption_2": "127",
    "occupation": "128",
    "geography": "129",
}
SAMPLE: Mapping[str, str] = {"category": "206", "shop": "207", "brand": "216", "place": "301"}
#: Column to field, one weighted value each.
HABITS: Mapping[str, str] = {"category_habit": "508", "shop_habit": "509", "brand_habit": "702"}
#: Column to field, several values each.
COMMON_LISTS: Mapping[str, str] = {
    "past_categories": "109_14",
    "past_shops": "110_14",
    "past_brands": "127_14",
    "past_intentions": "150_14",
}
SAMPLE_LISTS: Mapping[str, str] = {"intentions": "210", "intention_habits": "853"}
WEIGHTED: tuple[str, ...] = (*HABITS, "intention_habits")

FEATURES: tuple[Feature, ...] = (
    *(
        Feature(name=name, table="exposures", min_count=MIN_COUNT)
        for name in ("user", "item", *COMMON, *SAMPLE, *HABITS)
    ),
    *(
        Feature(name=name, table="exposures", kind="multi", most=MOST, min_count=MIN_COUNT)
        for name in (*COMMON_LISTS, *SAMPLE_LISTS)
    ),
    *(Feature(name=f"{name}_weight", table="exposures", kind="numeric") for name in WEIGHTED),
)

#: RE2: a text of features with integer ids and weights that are numbers.
WELL_FORMED = r"[^\x01-\x03]+\x02-?\d+\x03[-+.\deE]+(\x01[^\x01-\x03]+\x02-?\d+\x03[-+.\deE]+)*"


def common_columns() -> str:
    """SQL: the columns of common features, over ``features``."""
    return _columns({"user": "101"}, COMMON, {}, COMMON_LISTS)


def sample_columns() -> str:
    """SQL: the columns of a sample, over ``features``."""
    return _columns({"own_user": "101", "item": "205"}, SAMPLE, HABITS, SAMPLE_LISTS)


def _columns(
    keys: Mapping[str, str], single: Mapping[str, str], habits: Mapping[str, str], lists: Mapping[str, str]
) -> str:
    found = [f"{_id(field, 'BIGINT')} AS {name}" for name, field in keys.items()]
    found += [f"{_id(field, 'INTEGER')} AS {name}" for name, field in {**single, **habits}.items()]
    found += [f"{_weight(field)} AS {name}_weight" for name, field in habits.items()]
    for name, field in lists.items():
        found.append(f"list_transform({_pairs(field)}[:{MOST}], lambda pair: pair.id) AS {name}")
        found += [f"-{_pairs(field)}[1].minus AS {name}_weight"] if name in WEIGHTED else []
    return ", ".join(found)


def _after(field: str) -> str:
    """SQL: what follows the field's first ``field \\x02`` in the text; empty where it is not there."""
    return f"split_part(chr(1) || features, chr(1) || {text(field)} || chr(2), 2)"


def _id(field: str, kind: str) -> str:
    return f"CAST(nullif(split_part({_after(field)}, chr(3), 1), '') AS {kind})"


def _weight(field: str) -> str:
    return f"CAST(nullif(split_part(split_part({_after(field)}, chr(3), 2), chr(1), 1), '') AS FLOAT)"


def _pairs(field: str) -> str:
    """SQL: {minus weight, id} of all values of the field, sorted."""
    mine = f"list_filter(string_split(features, chr(1)), lambda each: starts_with(each, {text(field)} || chr(2)))"
    number = "CAST(split_part(each, chr(3), 2) AS FLOAT)"
    value = f"CAST(split_part(each[{len(field) + 2}:], chr(3), 1) AS INTEGER)"
    return f"list_sort(list_transform({mine}, lambda each: {{'minus': -{number}, 'id': {value}}}))"
