"""The specification of an import: a TOML file that says which files a log lies in and what their columns mean."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.data.logs.rules import Rules, Splits, known_zone
from bench.data.tables import FORBIDDEN, Feature

Unit = Literal["auto", "s", "ms", "us", "ns", "text", "yyyymmdd"]


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


class Times(_Part):
    """How times are written. ``auto`` tells timestamps, texts and the size of numbers; ``format`` is strptime's."""

    unit: Unit = "auto"
    format: str | None = None


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


class SplitsSpec(Splits):
    """Days of the splits, or the column of a table of exposures that tells train, valid and test."""

    column: str | None = None


class Spec(Files):
    """A log: its files, the meaning of their columns, and the rules by which it is read."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    shape: Literal["events", "exposures"]
    time_zone: str | None = None
    columns: Columns
    time: Times = Times()
    actions: Actions | None = None
    labels: Labels | None = None
    search: tuple[str, ...] = Field((), description="values of the domain column that mean search")
    visits: Visits = Visits()
    attribution: Attribution = Attribution()
    splits: SplitsSpec = SplitsSpec()
    features: tuple[FeatureSpec, ...] = ()
    users: Side | None = None
    items: Side | None = None
    behaviour: Behaviour | None = None

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        return None if value is None else known_zone(value)

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        if self.shape == "events":
            if self.columns.action is None or self.actions is None or self.columns.time is None:
                raise ValueError("must have columns.action, columns.time and [actions] where shape is events")
            if self.labels is not None or self.behaviour is not None or self.splits.column is not None:
                raise ValueError("must have no [labels], [behaviour] or splits.column where shape is events")
        elif self.labels is None or self.columns.action is not None or self.actions is not None:
            raise ValueError("must have [labels], and no columns.action and [actions], where shape is exposures")
        if self.columns.time is None and (self.splits.column is None or self.behaviour is not None):
            raise ValueError("must have columns.time, or splits.column and no [behaviour]")
        beside = self.behaviour
        if beside is not None:
            if beside.columns.time is None or beside.columns.action is None:
                raise ValueError("must have columns.time and columns.action in [behaviour]")
            if self.columns.visit and not beside.columns.visit and self.attribution.hours is None:
                raise ValueError("must have a visit column in [behaviour] too, or attribution.hours")
        if self.search and self.columns.domain is None:
            raise ValueError("must have columns.domain where search lists its values")
        names = [feature.name for feature in self.all_features()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"must list a feature once, but {twice[0]!r} is there twice; give one of them a name")
        if leaks := sorted(FORBIDDEN.intersection(names)):
            raise ValueError(
                f"must have no feature called {leaks[0]!r}, which is a label or decides the split; name it"
            )
        used = {column for column in (self.labels.model_dump().values() if self.labels else ()) if column}
        if self.columns.action:
            used.add(self.columns.action)
        if leaks := sorted(used.intersection(feature.column for feature in self.features)):
            raise ValueError(f"must not use the label column {leaks[0]!r} as a feature")
        return self

    def all_features(self) -> tuple[Feature, ...]:
        """All features: user, item, hour (not of days) and weekday, position and domain, and those that are listed."""
        own = [Feature(name=name, table="exposures") for name in ("user", "item")]
        if self.columns.time is not None:
            known = ("weekday",) if self.time.unit == "yyyymmdd" else ("hour", "weekday")
            own += [Feature(name=name, table="exposures") for name in known]
        if self.columns.domain is not None:
            own.append(Feature(name="domain", table="exposures"))
        if self.columns.position is not None:
            own.append(Feature(name="position", table="exposures", kind="numeric"))
        listed = {feature.feature_name for feature in self.features}
        return (
            *(feature for feature in own if feature.name not in listed),
            *(feature.feature("exposures") for feature in self.features),
            *(feature.feature("users") for feature in (self.users.features if self.users else ())),
            *(feature.feature("items") for feature in (self.items.features if self.items else ())),
        )

    def rules(self) -> Rules:
        """How the log is read."""
        return Rules(
            shape=self.shape,
            visit="column" if self.columns.visit is not None else self.visits.by,
            gap_minutes=self.visits.gap_minutes,
            time_zone=self.time_zone or "UTC",
            attribution_hours=self.attribution.hours,
            splits=Splits(**self.splits.model_dump(exclude={"column"})),
        )
