"""What is done with a log: where visits come from, what counts for which exposure, and which days are for what."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Splits(_Rule):
    """Days for training, validation and test; a visit lies where its first exposure does."""

    valid_from: date | None = Field(None, description="first local day of validation")
    test_from: date | None = Field(None, description="first local day of the test")
    valid_share: float = Field(0.1, gt=0.0, lt=1.0, description="without days: share of the views, in whole days")
    test_share: float = Field(0.2, gt=0.0, lt=1.0, description="the same of the test")
    first: date | None = Field(None, description="first local day that is read at all")
    last: date | None = Field(None, description="last local day that is read at all")

    @model_validator(mode="after")
    def _in_order(self) -> Splits:
        if (self.valid_from is None) != (self.test_from is None):
            raise ValueError("must have both valid_from and test_from, or neither")
        if self.valid_share + self.test_share >= 1.0:
            raise ValueError("must leave rows for training: valid_share + test_share must be below 1")
        days = [day for day in (self.first, self.valid_from, self.test_from) if day is not None]
        if any(a >= b for a, b in itertools.pairwise(days)):
            raise ValueError("must have first before valid_from before test_from")
        if self.last is not None and days and self.last < days[-1]:
            raise ValueError(f"must have last on or after {days[-1]}")
        return self


class Rules(_Rule):
    """How a log is read.

    ``shape``: a log of ``events``, whose views are the exposures, or a table of ``exposures`` with labels (and a
    behaviour log beside it). ``visit``: from a ``column``, by a ``gap`` of inactivity, or all of a user's ``day``.
    """

    shape: Literal["events", "exposures"]
    visit: Literal["column", "gap", "day"] = "gap"
    gap_minutes: float = Field(30.0, gt=0.0, description="inactivity that ends a visit")
    time_zone: str = Field("UTC", description="IANA name of the zone that days and hours are counted in")
    attribution_hours: float | None = Field(
        None,
        gt=0.0,
        description="none: an action counts for the latest exposure of its item before it in its visit; "
        "else for the user's latest one of any visit, at most so long before it",
    )
    splits: Splits = Splits()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)


def known_zone(value: str) -> str:
    """``value`` if it names a time zone.

    Raises:
        ValueError: it names none.
    """
    try:
        if value in ("localtime", "posixrules", "Factory"):  # another one on every machine, or none
            raise zoneinfo.ZoneInfoNotFoundError
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"must be an IANA time zone such as Europe/Berlin, but got {value!r}") from None
    return value
