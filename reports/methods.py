"""What a model is, read off its code: its outputs, loss terms and their sample spaces, and its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.core.config import COEFFICIENTS, Config
from bench.core.registry import MODELS

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.batches import Labels
    from bench.modeling.module import FunnelModule
    from bench.modeling.outputs import FunnelOutput

#: The data for which parameters are counted: ids in the embedding table, fields of a row.
VOCABULARY, FIELDS = 1000, 20

#: Knobs that scale a loss term.
WEIGHTS = tuple(name for name in Config.model_fields if name.startswith("weight_") or name.endswith("_weight"))


class Term(NamedTuple):
    """A loss term: the probability it judges, the events whose happening is the label, its rows, its weight.

    A term without labels, such as a calibrator, has no events; one that judges no probability, such as a constraint,
    has no rows either.
    """

    name: str
    probabilities: tuple[str, ...]
    events: tuple[str, ...]
    rows: str
    weights: tuple[str, ...]


class Facts(NamedTuple):
    """``holds`` are equations between the outputs; parameters of one shared input, and of all that a model adds."""

    outputs: tuple[str, ...]
    holds: tuple[str, ...]
    terms: tuple[Term, ...]
    shared: int
    own: int


def description(kind: type) -> str:
    """The docstrings of a model and of the helpers it extends, as one paragraph; other models speak for themselves."""
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in MODELS.packages]
    helpers = [base for base in own if base is not kind and "name" not in base.__dict__]
    texts = [base.__dict__.get("__doc__") for base in (kind, *helpers)]
    return " ".join(" ".join(inspect.cleandoc(text).split()) for text in texts if text)


def probe(kind: type, config: Config) -> Facts | None:
    """The facts of a model; None of one that is not trained by gradient descent.

    It is built on a small input with random parameters. Then outputs, labels and weights are changed one at a
    time: a loss term depends on whatever makes it move.
    """
    import torch

    from bench.modeling.inputs import FunnelInputs, InputShape
    from bench.modeling.module import FunnelModule

    if not issubclass(kind, FunnelModule):
        return None
    shape = InputShape(VOCABULARY, FIELDS, item=0, items=(0, VOCABULARY // FIELDS))
    model = kind(config, shape).double().eval()
    shared = sum(parameter.numel() for parameter in FunnelInputs(config, shape).parameters())
    own = sum(parameter.numel() for parameter in model.parameters()) - shared
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # so that parts which start equal differ
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        labels = _labels()
        inputs = torch.randn(2, len(labels.click), model.inputs.width, generator=generator, dtype=torch.float64)
        output, other = model.compose(inputs[0]), model.compose(inputs[1])
        terms = tuple(_terms(model, output, other, labels))
    return Facts(tuple(name for name, _ in output.present()), tuple(_holds(output)), terms, shared, own)


def _labels() -> Labels:
    """Every combination of labels that occurs, several times: nothing happens without a click."""
    import torch

    from bench.data.batches import Labels

    kinds = [(0, 0, 0, 0)] * 8 + [(1, cart, buy, both) for cart in (0, 1) for buy in (0, 1) for both in (0, 1)]
    return Labels(*torch.tensor(kinds * 4, dtype=torch.float64).unbind(1))


def _terms(model: FunnelModule, output: FunnelOutput, other: FunnelOutput, labels: Labels) -> Iterator[Term]:
    import torch

    config = model.config

    def losses(output: FunnelOutput, labels: Labels) -> dict[str, float]:
        return {name: float(term) for name, term in model.losses(output, labels).items()}

    before = losses(output, labels)

    def moved(output: FunnelOutput = output, labels: Labels = labels) -> set[str]:
        after = losses(output, labels)
        return {name for name, value in before.items() if after.get(name) != value}

    clicked, carted = labels.click > 0, labels.cart > 0
    spaces = {"exposed": ~clicked, "clicked": clicked & ~carted, "carted": carted}
    by_space = {space: moved(_replaced(output, other, rows)) for space, rows in spaces.items()}
    everywhere = torch.ones_like(clicked)
    by_output = {
        name: moved(output._replace(**{name: getattr(_replaced(output, other, everywhere), name)}))
        for name, _ in output.present()
    }
    by_event = {
        name: moved(labels=labels._replace(**{name: torch.where(clicked, 1.0 - label, label)}))
        for name, label in labels._asdict().items()
        if name != "click"
    }
    by_click = moved(labels=labels._replace(click=1.0 - labels.click))
    by_weight = {}
    for knob in WEIGHTS:
        model.config = config.model_copy(update={knob: 1.0 + getattr(config, knob)})
        coefficient = model.coefficient(knob) if knob in COEFFICIENTS else torch.zeros(())
        kept = coefficient.clone()
        coefficient += 1.0
        by_weight[knob] = moved()
        coefficient.copy_(kept)
    for term in before:
        rows = next((space for space, names in by_space.items() if term in names), "")
        events = tuple(name for name, names in by_event.items() if term in names)
        yield Term(
            term,
            tuple(name for name, names in by_output.items() if term in names),
            ("click", *events) if rows == "exposed" and term in by_click else events,
            rows,
            tuple(name for name, names in by_weight.items() if term in names),
        )


def _replaced(output: FunnelOutput, other: FunnelOutput, rows: Tensor) -> FunnelOutput:
    """``output`` with those rows of ``other``."""
    import torch

    def mixed(ours: Any, theirs: Any) -> Any:
        return type(ours)(*(torch.where(rows, b, a) for a, b in zip(ours, theirs, strict=True)))

    return output._replace(**{name: mixed(value, getattr(other, name)) for name, value in output.present()})


def _holds(output: FunnelOutput) -> Iterator[str]:
    import torch

    found = {name: value.probability() for name, value in output.present()}
    if torch.allclose(found["ctcvr"], found["ctr"] * found["cvr"]):
        yield "CTCVR = CTR × CVR"
    if "car" not in found:
        return
    if "ctcar" in found and torch.allclose(found["ctcar"], found["ctr"] * found["car"]):
        yield "CTCAR = CTR × CAR"
    told = bool((found["cvr"] < 1.0).any())  # what is clipped at 1 everywhere tells nothing
    if told and torch.allclose(found["cvr"], found["car"]):
        yield "CVR = CAR"
    elif told and bool((found["cvr"] <= found["car"]).all()):
        yield "CVR ≤ CAR: no purchase without a cart"
