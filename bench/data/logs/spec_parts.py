"""Parts of the specification of an import: files, columns, times, actions, labels and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import duckdb
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.data.tables import Feature

Unit = Literal["auto", "s", "ms", "us", "ns", "text", "yyyymmdd"]


class Misplaced(ValueError):
    """A mistake at ``place``, as seen from the part that finds it."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


def twice(names: Sequence[str]) -> str | None:
    """A name that is there twice; upper and lower case are one, as in SQL."""
    lower = [each.lower() for each in names]
    return next((each for each in names if lower.count(each.lower()) > 1), None)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureSpec(_Part):
    """A column that models read. ``separator`` splits a text into the categories of a ``multi`` feature."""

    column: str
    name: str = ""
    kind: Literal["categorical", "multi", "numeric", "dense"] = "categorical"
    separator: str | None = None
    most: int = Field(8, ge=1, le=64)
    min_count: int | None = Field(None, ge=1)
    buckets: int | None = Field(None, ge=1, le=2**30)

    @model_validator(mode="after")
    def _separated(self) -> FeatureSpec:
        if self.separator is not None and self.kind != "multi":
            raise Misplaced('must have kind = "multi" where it has a separator', "separator")
        return self

    @property
    def feature_name(self) -> str:
        """Its name in the funnel tables."""
        return self.name or self.column

    def feature(self, table: Literal["exposures", "users", "items"]) -> Feature:
        """It as a feature of a table."""
        return Feature(
            name=self.feature_name,
            table=table,
            kind=self.kind,
            most=self.most,
            min_count=self.min_count,
            buckets=self.buckets,
        )


class Files(_Part):
    """Files of one table: paths or globs relative to the specification. ``names``: of columns that have no header."""

    files: tuple[str, ...] = Field(min_length=1)
    format: Literal["csv", "json", "parquet"] | None = Field(None, description="default: by the files' ending")
    delimiter: str = Field(",", min_length=1, max_length=4)
    header: bool = True
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _named(self) -> Files:
        if not self.header and not self.names:
            raise ValueError("must list names where the files have no header")
        if self.header and self.names:
            raise Misplaced("must have header = false where it lists names", "names")
        if name := twice(self.names):
            raise Misplaced(f"must list a name once, but {name!r} is there twice", "names")
        return self


class Columns(_Part):
    """Which column is what. ``action`` only in a log of events, ``visit`` where the log has visits of its own."""

    user: str
    item: str
    time: str | None = None
    action: str | None = None
    visit: str | None = None
    domain: str | None = None
    position: str | None = None

    @model_validator(mode="after")
    def _apart(self) -> Columns:
        keys = {key: column for key in ("user", "item", "time", "action") if (column := getattr(self, key))}
        if name := twice(list(keys.values())):
            last = [key for key, column in keys.items() if column.lower() == name.lower()][-1]
            raise Misplaced(f"must name a column once, but {name!r} is there twice", last)
        return self


class Times(_Part):
    """How times are written. ``auto`` tells timestamps, texts and the size of numbers; ``format`` is strptime's."""

    unit: Unit = "auto"
    format: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Times:
        if self.format is None:
            return self
        if self.unit != "auto":
            raise Misplaced("must have a unit or a format, not both", "unit")
        try:
            duckdb.connect().execute("SELECT try_strptime('', ?::VARCHAR)", [self.format])
        except duckdb.Error:
            wanted = "must have a format such as %Y-%m-%d %H:%M:%S"
            raise Misplaced(f"{wanted}, but it is {self.format!r}", "format") from None
        return self


class Actions(_Part):
    """Values of the action column, by what they mean. Values that are listed nowhere are an error."""

    view: tuple[str, ...] = ()
    click: tuple[str, ...] = ()
    cart: tuple[str, ...] = ()
    wish: tuple[str, ...] = ()
    purchase: tuple[str, ...] = ()
    browse: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        return [str(each) for each in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _once(self) -> Actions:
        values = [value for listed in self.model_dump().values() for value in listed]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"must list a value once, but {twice[0]!r} is there twice")
        if not values:
            raise ValueError('must list the values of the action column, such as view = ["view"]')
        return self

    @property
    def meanings(self) -> dict[str, str]:
        """Action by value, ``ignore`` among them."""
        return {value: action for action, listed in self.model_dump().items() for value in listed}


class Labels(_Part):
    """Columns with the labels of a table of exposures."""

    click: str
    cart: str | None = None
    wish: str | None = None
    purchase: str | None = None


class Behaviour(Files):
    """A behaviour log beside a table of exposures: actions give the labels that the table does not have."""

    columns: Columns
    time: Times = Times()
    actions: Actions


class Side(Files):
    """Features of users or items, one row each, found by ``key``."""

    key: str
    features: tuple[FeatureSpec, ...] = Field(min_length=1)


class Visits(_Part):
    """Where visits come from, without a visit column."""

    by: Literal["gap", "day"] = "gap"
    gap_minutes: float = Field(30.0, gt=0.0)


class Attribution(_Part):
    """Within how many hours an action counts for an exposure; without: within its visit."""

    hours: float | None = Field(None, gt=0.0)
