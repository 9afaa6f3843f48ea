"""Which cells a run is made of, and which combinations are left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError, unknown
from bench.core.registry import MODELS
from bench.data.encoded import Meta
from bench.data.source import Source
from bench.runner.supply import in_words, lacking


class Request(NamedTuple):
    """Cells that are wanted: every model in every configuration on every city.

    ``models``: classes by name; knobs that a model does not use are reset. ``tuned``: changes of the configuration
    by (city, model), from a study. ``beside`` marks a world made to stand beside the one that was asked for: where
    it cannot be prepared, it is left out.
    """

    source: Source
    cities: Sequence[str]
    models: Mapping[str, Any]
    configs: Sequence[Config]
    tuned: Mapping[tuple[str, str], Mapping[str, Any]] = {}
    beside: bool = False


class Plan(NamedTuple):
    """Cells in the order in which they are run, and one line per combination that is left out."""

    cells: list[Cell]
    left_out: list[str]


def choose(kind: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """``wanted`` in its order without repetitions; None means all.

    Raises:
        UserError: one of them is unknown, or none is named.
    """
    if wanted is None:
        return list(known)
    if not wanted:
        raise UserError(f"at least one {kind} must be named, but got none; take some of {', '.join(known)}.")
    for name in wanted:
        if name not in known:
            raise unknown(kind, name, known)
    return list(dict.fromkeys(wanted))


def models_of(wanted: Sequence[str] | None, also: Sequence[str] = ()) -> dict[str, Any]:
    """Model classes by name; None means all that can be imported (``MODELS.broken`` has the others).

    Args:
        wanted: names of models.
        also: names of more, which come after them: those of model files.

    Raises:
        UserError: one of them is unknown or cannot be imported.
    """
    if wanted is None:
        return dict(MODELS.all())
    return {name: MODELS.get(name) for name in (*choose("model", wanted, MODELS.names()), *also)}


def plan(requests: Sequence[Request], seeds: int, metas: Mapping[str, Meta] | None = None) -> Plan:
    """The cells of all requests for seeds 0 … ``seeds`` - 1, each once, larger cities first.

    Args:
        requests: what is wanted.
        seeds: their number.
        metas: what is known of encoded cities, by fingerprint; without it, a model is left out only where the source
            itself says that it cannot supply what the model needs.

    Raises:
        UserError: ``seeds`` is not positive.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, but got {seeds}.")
    metas = metas or {}
    cells: dict[str, Cell] = {}
    left_out: list[str] = []
    for request in requests:
        for city in request.cities:
            fingerprint = request.source.fingerprint(city)
            meta = metas.get(fingerprint)
            lacks = {**request.source.lacks_of(city), **(meta.lacks if meta else {})}
            training = meta.counts["train"] if meta else None
            for name, model in request.models.items():
                if missing := lacking(model.needs, lacks, training):
                    left_out.append(f"{name} on city {city}: it needs {in_words(missing)}")
                    continue
                changes = dict(request.tuned.get((city, name), {}))
                for config in request.configs:
                    for seed in range(seeds):
                        cell = Cell(
                            dataset=request.source.label,
                            fingerprint=fingerprint,
                            city=city,
                            model=name,
                            config=config.model_copy(update=changes).used_by(model.knobs),
                            seed=seed,
                            code=MODELS.code(name),
                        )
                        cells[cell.key] = cell
    ordered = sorted(cells.values(), key=lambda cell: -_rows(metas.get(cell.fingerprint)))
    return Plan(ordered, list(dict.fromkeys(left_out)))


def _rows(meta: Meta | None) -> int:
    return 0 if meta is None else max(stop for _, stop in meta.splits.values())
