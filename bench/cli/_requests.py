"""What ``bench run`` was asked for, as requests: models × configurations × cities, or the cells of exhibits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from bench.core.config import Config, override, validated
from bench.core.errors import UserError, unknown
from bench.core.registry import EXHIBITS
from bench.data.source import Source
from bench.runner.plan import Request, choose, models_of


def grid(config: Config, axes: Sequence[str]) -> list[Config]:
    """``config`` with every combination of values, from axes such as ``constraint_weight=0.01,0.1``.

    Raises:
        UserError: an axis has no value, repeats a knob, or is refused as :func:`override` refuses it.
    """
    knobs = [axis.partition("=")[0].strip() for axis in axes]
    if twice := [knob for knob in knobs if knobs.count(knob) > 1]:
        raise UserError(f"--grid must name a knob once, but {twice[0]!r} is there twice; list its values in one.")
    values = []
    for axis, knob in zip(axes, knobs, strict=True):
        if isinstance(getattr(config, knob, None), tuple):
            raise UserError(f"--grid takes knobs with single values, but {knob} is a list; use --set in several runs.")
        given = [value for value in axis.partition("=")[2].split(",") if value.strip()]
        if not given:
            raise UserError(f"--grid needs knob=value,value, but got {axis!r}; write for example dropout=0,0.2.")
        values.append([f"{knob}={value}" for value in given])
    return list(dict.fromkeys(override(config, chosen) for chosen in itertools.product(*values)))


def exhibit_names(text: str) -> list[str]:
    """Names of exhibits from a list in which ``all-PAPER`` stands for all of a paper.

    Raises:
        UserError: a name is unknown, or an exhibit needs no cells of its own.
    """
    papers: dict[str, list[str]] = {}
    for name, kind in EXHIBITS.all().items():
        if kind.paper is not None:
            papers.setdefault(f"all-{kind.paper}", []).append(name)
    names: dict[str, None] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        if part not in papers and part not in EXHIBITS.names():
            raise unknown("exhibit", part, [*papers, *EXHIBITS.names()])
        if part not in papers and not EXHIBITS.get(part).demands:
            raise UserError(
                f"--exhibit needs exhibits that train cells, but {part} shows what is stored; run `bench report`."
            )
        names |= dict.fromkeys(papers.get(part, [part]))
    if not names:
        raise UserError(
            f"--exhibit needs a name, but got none; take some of {', '.join([*papers, *EXHIBITS.names()])}."
        )
    return list(names)


def of_exhibits(
    names: Sequence[str], place: Callable[[str | None], tuple[Source, Config]], cities: Sequence[str] | None = None
) -> list[Request]:
    """The requests of exhibits.

    Args:
        names: names of exhibits.
        place: the dataset and the configuration for the exhibits of a paper, or of none.
        cities: leaves out others.

    Raises:
        UserError: there is no such city, or nothing is left of the exhibits.
    """
    requests: list[Request] = []
    kinds = [EXHIBITS.get(name) for name in names]
    places = {kind.paper: place(kind.paper) for kind in kinds}
    if cities is not None:
        choose("city", cities, list(dict.fromkeys(city for source, _ in places.values() for city in source.cities())))
    for paper, demand in ((kind.paper, demand) for kind in kinds for demand in kind.demands):
        source, config = places[paper]
        models = models_of(demand.models)
        configs = [validated(config.model_dump() | dict(change)) for change in demand.changes]
        known = source.cities()
        chosen = [city for city in demand.cities or known if city in known and (cities is None or city in cities)]
        for world in demand.worlds:
            beside = bool(world.knobs) or world.size != 1.0
            if chosen and (source.simulated or not beside):
                there = source.varied(world.knobs, world.size) if beside else source
                requests.append(Request(there, chosen, models, configs, beside=beside))
    if not requests:
        raise UserError(f"the exhibits must have cells on the chosen cities, but {', '.join(names)} have none there.")
    return requests
