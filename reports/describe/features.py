"""The features of a description, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.describe.results import Column, Description
from reports.describe.parts import Section, Table
from reports.describe.words import number, percent
from reports.markdown import MISSING

#: Dense features that are listed one by one; of more, only those that stand out.
MOST_DENSE = 20

TEXT = """\
Shares are of the exposures (of a feature with several values, of all values). *Unknown* is the share of rows with a
value that no training row has: a model knows nothing of it. *Tells click* (*purchase*) is how well the feature alone
ranks the validation rows by the rate that its value has in training: 0.5 is nothing, 1 is everything (an AUC; purchases
are asked of clicks only), “-” where fewer than 30 rows have the label or lack it. Near 1 it is a leak."""

HEADER = (
    "feature", "table", "kind", "missing", "different values", "most frequent value", "its share",
    "unknown, validation", "unknown, test", "tells click", "tells purchase",
)  # fmt: skip
#: Columns for which a terminal has no room: table, kind, the most frequent value and its share.
_WIDE = (1, 2, 5, 6)


def features(found: Description) -> Section:
    """A table of all features but the crosses; where there are many dense ones, of those that stand out."""
    dense = [column for column in found.columns if column.kind == "dense"]
    shown = [column for column in found.columns if column.kind != "dense" or len(dense) <= MOST_DENSE]
    text = [" ".join(TEXT.split())]
    if len(dense) > MOST_DENSE:
        telling = sorted(dense, key=lambda column: -max(_told(column), default=0.0))[:MOST_DENSE]
        shown += telling
        text.append(
            f"There are {len(dense)} dense features; the {MOST_DENSE} that tell most are listed, description.json has "
            f"all. {_dense(dense)}"
        )
    return Section(
        "Features", text, tables=[Table("One by one", HEADER, [_row(column) for column in shown], wide=_WIDE)]
    )


def _told(column: Column) -> list[float]:
    return [auc for auc in column.auc.values() if auc is not None]


def _dense(columns: Sequence[Column]) -> str:
    gaps = sum(column.missing > 0 for column in columns)
    worst = max(columns, key=lambda column: column.missing)
    if not gaps:
        return "None has missing values."
    return f"{gaps} have missing values, most of all {worst.name} ({percent(worst.missing)})."


def _row(column: Column) -> list[str]:
    aucs = ["repeats it" if label in column.mirrors else _auc(auc) for label, auc in column.auc.items()]
    return [
        column.name,
        column.table,
        column.kind,
        percent(column.missing),
        ("about " if column.rounded else "") + number(column.distinct),
        column.top,
        percent(column.top_share),
        percent(column.unknown["valid"]),
        percent(column.unknown["test"]),
        *aucs,
    ]


def _auc(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
