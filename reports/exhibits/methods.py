"""The models in one page, read off the code, and a glossary of the papers' words and symbols."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bench.core.config import PRESETS
from bench.core.registry import MODELS
from bench.results.queries import cost_frame
from reports import style
from reports.aucs import metric_name
from reports.exhibit import Exhibit
from reports.markdown import MISSING, table
from reports.methods import FIELDS, VOCABULARY, Facts, description, probe
from reports.study import Study

INTRODUCTION = """\
An *exposure* is one item shown to one user: one row of the data. It may be clicked, then put into the cart, then
bought. CTR is the probability of a click, CVR and CAR those of a purchase and of a cart once there is a click, CTCVR
and CTCAR those of an exposure that it ends in a purchase or in a cart. CVR is what a shop wants to rank by. Clicked
rows alone are few, and not the rows that are ranked; *entire-space* models therefore learn CTCVR over all exposures,
and CVR as the factor that is left beside CTR.

All networks have the same input: embeddings of the row's fields, its dense features where there are any and, unless
they are switched off, DIN over the recent events of the user and ETA over those that it finds in a long history;
separate estimators have one each. They differ in what stands above it, and in what they learn from. GBDT reads the
same fields and dense features, but no histories."""

TERMS = """\
What is minimised is the sum of the terms: each is a mean cross entropy, over its rows, between a probability and the
label that all the events happened; a constraint ties parameters and has no rows, a calibrator ties probabilities and
has no label, and a counterfactual risk weights its rows by one over their CTR so that they stand for all exposures.
With `task_weighting=uncertainty` the terms that judge a probability get learned weights besides. The table is
measured, not written by hand: outputs, labels and weights of each model were changed one at a time, and a term depends
on what makes it move.
*Calibrated* carts went through Sample Calibration, which gives a purchase the cart of an earlier visit; it changes
training labels only."""

OUTPUTS = """\
*Holds always* was tested on random parameters and rows. *Own parameters* are those beside one shared input, with the
layers of the preset {preset}, for rows of {fields} fields; the shared input adds {shared:,} with {vocabulary:,} ids.
*Stored* is the median over the stored cells, input and all. *Knobs* are the settings that only some models have."""

ROWS = {
    "exposed": "all exposures",
    "clicked": "clicked",
    "carted": "clicked, with a cart",
    "": "none: parameters only",
}
Rows = list[list[str]]
LOSS_HEADER = ["Model", "Loss term", "Probability", "Label", "Rows", "Weight"]

COLUMNS = ["model", "term", "probability", "label", "rows", "weight", "own_parameters"]

#: ESMC Table I, and what stands for it here.
ABBREVIATIONS = {
    "Cart": ("putting an item into the cart", "label `cart`"),
    "CTR": ("click-through rate", "`ctr`, measured by `{ctr}`"),
    "CVR": ("post-click conversion rate", "`cvr`, `{cvr}`"),
    "CAR": ("cart adding rate", "`car`, `{car}`"),
    "CTCAR": ("click-through cart adding rate", "`ctcar`, `{ctcar}`"),
    "CTCVR": ("click-through conversion rate", "`ctcvr`, `{ctcvr}`"),
    "PSC": ("probability space confusion: cart and purchase lie in different visits", "a *bad case*"),
    "SSB": ("sample selection bias: trained on clicked rows, used on all exposures", "rows of a CVR loss: clicked"),
    "DS": ("data sparsity: few clicks, fewer purchases", "`click_sparsity`, `purchase_sparsity` of Table III"),
}

#: ESMC Table II, and some of ESM² section 3.2.
SYMBOLS = {
    "u": ("user", "column `user`"),
    "𝒱, v": ("items exposed to a user, one of them", "rows with one `visit`, column `item`"),
    "𝒞, c_u,v": ("clicked items, whether one is", "label `click`"),
    "𝒜, a_u,v": ("items put into the cart, whether one is", "label `cart`"),
    "𝒪, o_u,v": ("purchased items, whether one is", "label `purchase`"),
    "𝕏": ("exposure space", "sample space `exposed`"),
    "ℂ": ("click space", "sample space `clicked`"),
    "𝔸": ("cart space", "sample space `carted`"),
    "𝕆": ("conversion space", "rows with `purchase` = 1; no metric is taken over them alone"),
    "X, x": ("exposure event, its value", "a row"),
    "C, c": ("click event, its value", "`click`"),
    "A, a": ("event of click and cart, its value", "`click` × `cart`"),
    "R, r": ("conversion event, its value", "`click` × `purchase`"),
    "X₁, X₂": ("exposure spaces of an earlier and of the current visit", "`visit`"),
    "ĉ, â, r̂": ("estimates of a model", "predictions `ctr`, `ctcar`, `ctcvr`"),
    "ω₁ … ω₅": ("weights of the loss terms (Eq. 17, 19)", "knobs `weight_…`, `constraint_weight`"),
    "Q": ("Sample Calibration (Eq. 14)", "knob `calibration`"),
    "ESM²: y₁, y₂, y₁y₂": ("of click, of action after click, of both (p^ctavr)", "`ctr`, `car`, `ctcar`"),
    "ESM²: y₃, y₄": ("of purchase after click, with and without action", "towers of `esm2`"),
    "ESM²: DAction, OAction": ("deterministic action; any other", "knob `action`, label of `car`; its complement"),
}


class Methods(Exhibit):
    name = "methods"
    title = "Methods: the models in one page"
    needs = "nothing"
    order = 120
    scope = "report"

    def build(self, study: Study, folder: Path) -> str:
        kinds = MODELS.all()
        models = style.in_order(kinds)
        facts = {model: probe(kinds[model], PRESETS[study.preset]) for model in models}
        self.write_csv(_frame(facts), folder)
        knobs: dict[str, tuple[str, ...]] = {model: kinds[model].knobs for model in models}
        metrics = {name: metric_name(name) for name in ("ctr", "cvr", "car", "ctcar", "ctcvr")}
        words = [[word, text, ours.format(**metrics)] for word, (text, ours) in ABBREVIATIONS.items()]
        symbols = [[symbol, *texts] for symbol, texts in SYMBOLS.items()]
        return "\n\n".join(
            [
                INTRODUCTION,
                "\n".join(
                    f"- **{style.title(model)}** (`{model}`; {kinds[model].source}). {description(kinds[model])}"
                    for model in models
                ),
                "#### What they learn from",
                TERMS,
                _left(table(LOSS_HEADER, _term_rows(facts, knobs, study))),
                "#### What they give",
                *_outputs(facts, knobs, study),
                "#### Words of the ESMC paper (its Table I)",
                _left(table(["Word", "Meaning", "Here"], words)),
                "#### Symbols of the papers (ESMC Table II)",
                _left(table(["Symbol", "Meaning", "Here"], symbols)),
            ]
        )


def _frame(facts: Mapping[str, Facts | None]) -> pd.DataFrame:
    """One row per model and loss term."""
    rows: list[dict[str, object]] = []
    for model, found in facts.items():
        if found is None:
            rows.append({"model": model})
            continue
        for term in found.terms:
            joined = ("+".join(names) for names in (term.probabilities, term.events, (term.rows,), term.weights))
            rows.append(dict(zip(COLUMNS, (model, term.name, *joined, found.own), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _term_rows(facts: Mapping[str, Facts | None], knobs: Mapping[str, tuple[str, ...]], study: Study) -> Rows:
    config = PRESETS[study.preset]
    rows = []
    for model, found in facts.items():
        if found is None:
            rows.append([style.title(model), "not trained by gradient descent", *[MISSING] * 4])
            continue
        calibrated = "calibrated " if "calibration" in knobs[model] and config.calibration != "none" else ""
        events = {"cart": f"{calibrated}cart", "global_cart": f"{calibrated}cart of any domain"}
        for place, term in enumerate(found.terms):
            rows.append(
                [
                    style.title(model) if place == 0 else "",
                    term.name,
                    ", ".join(name.upper() for name in term.probabilities) or MISSING,
                    " and ".join(events.get(event, event) for event in term.events) or MISSING,
                    ROWS[term.rows],
                    ", ".join(f"`{knob}` = {getattr(config, knob):g}" for knob in term.weights) or "1",
                ]
            )
    return rows


def _left(text: str) -> str:
    """A table of words: every column left-aligned."""
    return text.replace("---:", "---")


def _outputs(facts: Mapping[str, Facts | None], knobs: Mapping[str, tuple[str, ...]], study: Study) -> list[str]:
    records = [record for record in study.records if record.key in study.main]
    stored = cost_frame(records).groupby("model").parameters.median().to_dict() if records else {}
    shared = next((found.shared for found in facts.values() if found is not None), 0)
    rows = [
        [
            style.title(model),
            MISSING if found is None else ", ".join(name.upper() for name in found.outputs),
            MISSING if found is None else "; ".join(found.holds) or MISSING,
            MISSING if found is None else f"{found.own:,}",
            f"{stored[model]:,.0f}" if model in stored else MISSING,
            ", ".join(f"`{knob}`" for knob in knobs[model]) or MISSING,
        ]
        for model, found in facts.items()
    ]
    header = ["Model", "Probabilities", "Holds always", "Own parameters", "Stored", "Knobs"]
    text = OUTPUTS.format(preset=study.preset, fields=FIELDS, shared=shared, vocabulary=VOCABULARY)
    return [text, _left(table(header, rows))]
