"""How often the users of a city bought in the last three months, and the groups that Figure 7 makes of it."""

from __future__ import annotations

import duckdb
import numpy as np

from bench.core.errors import UserError
from bench.data.sql import fetch, name, open_tables
from bench.metrics._arrays import Array, Float
from reports import style
from reports.study import Study

#: Column of the funnel tables' ``users``: their purchases of the last three months.
COLUMN = "purchases_90d"

#: Fewest and most purchases, by the title of a group. The paper's last one is "[50,+]", which shares its 50 with the
#: one before; ours begins at 51.
GROUPS: dict[str, tuple[float, float]] = {
    "[0,10]": (0, 10),
    "[11,20]": (11, 20),
    "[21,50]": (21, 50),
    "[51,+]": (51, np.inf),
}


def purchases(study: Study, city: str, exposure: Array) -> Float:
    """Purchases [n] of the user of each test ``exposure`` [n]; NaN where they are not known.

    Raises:
        UserError: the city's funnel tables are not stored or cannot be read, or they do not have them.
    """
    folder = study.store.out / "data" / "tables" / study.fingerprints[city]
    place = style.city_title(city)
    with duckdb.connect() as connection:
        try:
            columns = open_tables(connection, folder)
            if not {"exposures", "users"} <= columns.keys():
                raise UserError(f"{place}: the funnel tables of its users are not stored, so there are no groups.")
            if COLUMN not in columns["users"]:
                raise UserError(f"{place}: its users have no column {COLUMN}, so there are no groups.")
            query = f"""SELECT exposures.exposure AS exposure, CAST({name(COLUMN)} AS DOUBLE) AS bought
                        FROM exposures JOIN users USING ("user") WHERE {name(COLUMN)} IS NOT NULL ORDER BY 1"""
            found = fetch(connection, query)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{place}: its funnel tables cannot be read, so there are no groups: {reason}") from None
    bought = np.full(exposure.size, np.nan)
    if found["exposure"].size:
        at = np.minimum(np.searchsorted(found["exposure"], exposure), found["exposure"].size - 1)
        known = found["exposure"][at] == exposure
        bought[known] = found["bought"][at[known]]
    return bought


def masks(bought: Float) -> dict[str, Array]:
    """By group, which rows [n] it has; a row of unknown purchases is in none."""
    return {group: (bought >= low) & (bought <= high) for group, (low, high) in GROUPS.items()}
