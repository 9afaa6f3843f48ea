"""The configuration of one cell: every knob of model and training, with the papers' protocols as presets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from bench.core.errors import UserError, unknown

Constraint = Literal["gaussian", "softmax", "softmax_unit"]
Calibration = Literal["copy", "move", "none"]
Action = Literal["cart", "wish", "cart_wish", "cart_wish_intent"]
Precision = Literal["auto", "float32", "bfloat16"]


class Config(BaseModel):
    """Knobs of one cell. Defaults: the ESMC paper's protocol (its section VI-A); where it is silent, ours.

    A model uses only some of the model knobs; :meth:`used_by` resets the others, so that a model knob that
    cannot change a result never changes a cell's key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # input
    embedding_dim: PositiveInt = Field(16, description="width of every embedding")
    item_dim: PositiveInt | None = Field(None, description="width of the item's embedding; none: embedding_dim")
    embedding_std: float = Field(0.01, gt=0.0, description="standard deviation of initial embeddings")
    din_length: int = Field(20, ge=0, description="most recent events DIN attends over; 0 switches DIN off")
    eta_length: int = Field(100, ge=0, description="long history ETA retrieves from; 0 switches ETA off")
    eta_top_k: PositiveInt = Field(50, description="events that ETA keeps by Hamming distance (ESMC VI-A)")
    eta_bits: PositiveInt = Field(32, description="bits of ETA's SimHash")
    attention_hidden: PositiveInt = Field(16, description="hidden units of DIN's attention unit")
    numeric_top: PositiveInt = Field(
        64, description="dense features that are read, the most important first (ESM² 4.3.2)"
    )
    numeric: Literal["tanh", "bins"] = Field(
        "tanh", description="dense features normalised (ESM² Eq. 17) or discretised"
    )

    # towers
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64), min_length=1, description="hidden widths; a shared bottom or expert has all but the last"
    )
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    experts: PositiveInt = Field(4, description="MMoE: number of experts; PLE: of each task's and of the shared ones")
    levels: PositiveInt = Field(2, description="PLE: extraction levels")

    # trees
    trees: PositiveInt = Field(150, description="GBDT: number of trees (ESM² 4.1.4, as the next four)")
    tree_depth: int = Field(8, ge=1, le=17, description="GBDT: greatest depth of a tree")
    tree_leaf: PositiveInt = Field(20, description="GBDT: fewest rows of a leaf")
    tree_rows: float = Field(0.6, gt=0.0, le=1.0, description="GBDT: share of the rows drawn for each tree")
    tree_fields: float = Field(0.6, gt=0.0, le=1.0, description="GBDT: share of the features drawn for each tree")

    # labels, losses
    action: Action = Field("cart", description="what makes up the deterministic action (ESM² Table 7)")
    task_weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="loss terms weighted as given, or by learned uncertainty (Kendall et al., CVPR 2018)"
    )
    oversampling: float = Field(10.0, ge=1.0, description="DNN-OS: how often a purchase counts among the clicked rows")
    propensity_clip: float = Field(0.02, gt=0.0, le=1.0, description="ESCM²: least propensity that is divided by")
    weight_risk: float = Field(0.1, ge=0.0, description="ESCM²: weight of the counterfactual risk of CVR")
    weight_calibrator: float = Field(0.6, ge=0.0, description="AITM: weight of the behavioural expectation calibrator")
    constraint: Constraint = Field("gaussian", description="ESMC: reading of the parameter constraint")
    constraint_weight: float = Field(0.05, ge=0.0, description="ESMC: coefficient of the constraint (Eq. 17)")
    calibration: Calibration = Field("copy", description="Sample Calibration of the training carts (Eq. 14)")
    weight_ctr: float = Field(1.0, ge=0.0)
    weight_cvr: float = Field(1.0, ge=0.0, description="weight of the CVR or CTCVR loss")
    weight_car: float = Field(1.0, ge=0.0, description="weight of the CTCAR loss")
    weight_global: float = Field(0.5, ge=0.0, description="ESMG: weight of the loss of global-domain carts (Eq. 19)")

    # training
    optimizer: Literal["adagrad_decay", "adam"] = "adagrad_decay"
    learning_rate: float = Field(0.005, gt=0.0)
    initial_accumulator: float = Field(0.0, ge=0.0, description="AdagradDecay: start of the accumulator")
    accumulator_decay: float = Field(0.9, gt=0.0, le=1.0, description="AdagradDecay: factor per period")
    accumulator_period: PositiveInt = Field(100_000, description="AdagradDecay: steps between two decays")
    warmup: float = Field(0.05, ge=0.0, le=1.0, description="share of all steps with linear warm-up")
    batch_size: PositiveInt = 1024
    epochs: PositiveInt = 1
    order: Literal["common", "own"] = Field(
        "common", description="order of the training visits: the same for all seeds, or each seed's own"
    )
    precision: Precision = Field(
        "auto", description="of the towers' matrix products; auto: bfloat16 where the hardware has it"
    )

    def used_by(self, knobs: Iterable[str]) -> Config:
        """This configuration with every model knob outside ``knobs`` at its default (``None`` keys)."""
        unused = set(MODEL_KNOBS) - set(knobs)
        return self.model_copy(update={name: Config.model_fields[name].default for name in unused})


#: Knobs that only some models have; the others concern every network.
MODEL_KNOBS: tuple[str, ...] = (
    "experts",
    "levels",
    "trees",
    "tree_depth",
    "tree_leaf",
    "tree_rows",
    "tree_fields",
    "oversampling",
    "propensity_clip",
    "weight_risk",
    "weight_calibrator",
    "constraint",
    "constraint_weight",
    "calibration",
    "weight_car",
    "weight_global",
)

#: Knobs that only weigh a term of the loss: cells that differ in nothing else can be trained together.
COEFFICIENTS: tuple[str, ...] = ("constraint_weight", "weight_global")

PRESETS: dict[str, Config] = {
    # ESMC, section VI-A: AdagradDecay 0.005, batch 1024, one epoch, LeakyReLU, top-k 50, weights 1.
    "esmc": Config(),
    # ESM², section 4.1.4 and Table 2: Adam 0.0005, batch 1000, two epochs, dropout 0.5, 512-256-128-32, ReLU;
    # 4.3: item embeddings of 128, 64 normalised numbers, carts and wishes. Its input has no histories.
    "esm2": Config(
        item_dim=128,
        din_length=0,
        eta_length=0,
        action="cart_wish",
        optimizer="adam",
        learning_rate=0.0005,
        batch_size=1000,
        epochs=2,
        dropout=0.5,
        hidden=(512, 256, 128, 32),
        activation="relu",
        warmup=0.0,
    ),
}


def preset(name: str) -> Config:
    """The preset of that name.

    Raises:
        UserError: the preset is unknown.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def override(config: Config, assignments: Iterable[str]) -> Config:
    """``config`` with ``key=value`` assignments applied, as in ``--set hidden=256,128``.

    Raises:
        UserError: an assignment has no ``=``, names no knob, or gives a value that the knob refuses.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        key = key.strip()
        if not found:
            raise UserError(f"--set needs key=value, but got {assignment!r}; write for example dropout=0.5.")
        if key not in Config.model_fields:
            raise unknown("configuration key", key, Config.model_fields)
        if value.strip() == "none" and Config.model_fields[key].default is None:
            changes[key] = None
            continue
        many = isinstance(getattr(config, key), tuple)
        changes[key] = [part for part in value.split(",") if part.strip()] if many else value.strip()
    return validated(config.model_dump() | changes)


def validated(values: Mapping[str, Any]) -> Config:
    """A configuration from plain values.

    Raises:
        UserError: a value is refused; the first refusal is named.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "configuration"
        wanted = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"{key} is wrong: {wanted}, but got {first.get('input')!r}; give another value.") from None


def variant(config: Config) -> tuple[str, str]:
    """The nearest preset, and the knobs that differ from it, e.g. ``("esmc", "constraint=softmax")``.

    The nearest preset has the fewest differing knobs, the first one on a tie. The second text is empty for the
    preset itself.
    """
    values = config.model_dump()
    differing = {
        name: [knob for knob, value in values.items() if value != getattr(preset, knob)]
        for name, preset in PRESETS.items()
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    return nearest, ", ".join(f"{knob}={_plain(values[knob])}" for knob in differing[nearest])


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
