"""The specification of an import: a TOML file that says which files a log lies in and what their columns mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator, model_validator

from bench.data.logs.rules import Rules, Splits, known_zone
from bench.data.logs.spec_parts import (
    Actions,
    Attribution,
    Behaviour,
    Columns,
    FeatureSpec,
    Files,
    Labels,
    Misplaced,
    Side,
    Times,
    Visits,
    twice,
)
from bench.data.tables import FORBIDDEN, Feature

__all__ = [
    "Actions",
    "Attribution",
    "Behaviour",
    "Columns",
    "FeatureSpec",
    "Files",
    "Labels",
    "Side",
    "Spec",
    "SplitsSpec",
    "Times",
    "Visits",
]

#: Names of features that an import makes itself: no other column may have them.
OWN: tuple[str, ...] = ("user", "item", "hour", "weekday", "action", "position", "domain")


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
                raise Misplaced("must have columns.action, columns.time and [actions] where shape is events", "shape")
            others = {"labels": self.labels, "behaviour": self.behaviour, "splits": self.splits.column}
            if place := next((key for key, value in others.items() if value is not None), None):
                raise Misplaced("must have no [labels], [behaviour] or splits.column where shape is events", place)
        elif self.labels is None or self.columns.action is not None or self.actions is not None:
            wanted = "must have [labels], and no columns.action and [actions], where shape is exposures"
            raise Misplaced(wanted, "shape")
        if self.columns.time is None and (self.splits.column is None or self.behaviour is not None):
            raise Misplaced("must have columns.time, or splits.column and no [behaviour]", "columns")
        beside = self.behaviour
        if beside is not None:
            at = ("behaviour", "columns")
            if beside.columns.time is None or beside.columns.action is None:
                raise Misplaced("must have columns.time and columns.action in [behaviour]", *at)
            if self.columns.visit and not beside.columns.visit and self.attribution.hours is None:
                raise Misplaced("must have a visit column in [behaviour] too, or attribution.hours", *at)
        if self.search and self.columns.domain is None:
            raise Misplaced("must have columns.domain where search lists its values", "search")
        if self.columns.visit is not None and "visits" in self.model_fields_set:
            raise Misplaced("must have columns.visit or [visits], not both", "visits")
        return self

    @model_validator(mode="after")
    def _free_names(self) -> Spec:
        used = {column for column in (self.labels.model_dump().values() if self.labels else ()) if column}
        used |= {self.columns.action, self.splits.column} - {None}
        names: list[str] = []
        for place, feature in self._listed():
            name, at = feature.feature_name, (*place, "name" if feature.name else "column")
            own = place[0] == "features" and name in OWN and getattr(self.columns, name, None) == feature.column
            names.append(name)
            if name.lower() in FORBIDDEN:
                raise Misplaced(
                    f"must have no feature called {name!r}, which is a label or decides the split; name it", *at
                )
            if name.lower() in OWN and (not own or name == "action"):
                raise Misplaced(f"must have no feature called {name!r}, which the import makes itself; name it", *at)
            if twice(names):
                raise Misplaced(f"must list a feature once, but {name!r} is there twice; give one of them a name", *at)
            if place[0] == "features" and feature.column in used:
                raise Misplaced(f"must not use the label column {feature.column!r} as a feature", *place, "column")
        return self

    def _listed(self) -> Iterator[tuple[tuple[str | int, ...], FeatureSpec]]:
        """The features that the specification lists, with their places in it."""
        sides = ((key, side) for key, side in (("users", self.users), ("items", self.items)) if side is not None)
        for place, features in (((), self.features), *(((key,), side.features) for key, side in sides)):
            for i, feature in enumerate(features):
                yield (*place, "features", i), feature

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
