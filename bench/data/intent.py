"""Intent: a guess, from what a user did with an item before, that a click means more than a look.

The ESM² paper (4.3.4) predicts an intent score from the history of the user on the item and takes the samples with
the highest ones as positive actions. It says no more. Here the score is a weighted count of the user's earlier events
of the item that halves every ``HALF_LIFE`` seconds; the clicked training rows with the highest scores have intent.
"""

from __future__ import annotations

import duckdb

from bench.data.sql import text

#: What an earlier event counts; purchases do not (judgement, as all figures here).
WEIGHTS = {"click": 1.0, "browse": 2.0, "cart": 3.0, "wish": 3.0}
HALF_LIFE = 3 * 86_400
#: Share of the clicked training rows that get the label, at most: rows without history have no score.
SHARE = 0.05


def mark_intent(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table ``intended`` (exposure) from ``exposures``, ``visits`` and ``events``.

    Only events before the visit count. Equal scores are taken in the order of the exposures.
    """
    whens = " ".join(f"WHEN {text(action)} THEN {value}" for action, value in WEIGHTS.items())
    connection.execute(
        f"""CREATE TEMP TABLE intended AS
            WITH clicked AS (
                SELECT exposure, exposures.user, item, visits.start FROM exposures JOIN visits USING (visit)
                WHERE split = 'train' AND click = 1
            ), early AS (
                SELECT user, item, time, CASE action {whens} END AS weight FROM events
                WHERE action IN ({", ".join(map(text, WEIGHTS))})
                      AND time < (SELECT max(time) FROM exposures WHERE split = 'train')
            ), scored AS (
                SELECT exposure, sum(part ORDER BY part) AS score
                FROM (SELECT exposure, weight * power(0.5, (start - early.time) / {HALF_LIFE}.0) AS part
                      FROM clicked JOIN early
                      ON early.user = clicked.user AND early.item = clicked.item AND early.time < start)
                GROUP BY 1
            )
            SELECT exposure FROM scored WHERE score > 0
            QUALIFY row_number() OVER (ORDER BY score DESC, exposure) <= {SHARE} * (SELECT count(*) FROM clicked)"""
    )
