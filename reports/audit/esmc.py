"""The offline figures of the ESMC paper against each other: Tables III to V."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from reports import style
from reports.aucs import AUCS
from reports.audit.checks import (
    Check,
    Range,
    auc_text,
    can_exceed,
    combine,
    difference,
    gain,
    mean,
    paper_name,
    rounded,
    rounded_or_cut,
    show,
    sides,
)

PAPER = "ESMC"
FAMILY = ("esms", "esmc")
#: Table V has the global-domain models of these cities.
GLOBAL = {"esms2": "esms", "esmc2": "esmc"}


def offline_checks(paper: dict[str, Any]) -> list[Check]:
    """Checks of Tables III to V; ``paper`` is :func:`reports.published.load_printed`."""
    return [
        _counts(paper),
        _improvement_iv(paper),
        _marks(paper),
        _best(paper),
        _outperform(paper),
        _text_iv(paper),
        _improvement_v(paper),
        _text_v(paper),
    ]


def _counts(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table III",
        "clicks and purchases are total size × sparsity",
        "A sparsity is a share of the total size, so that the two give the count, in whole millions.",
    )
    for city, row in paper["table_iii"]["cities"].items():
        for count, sparsity in (("clicks", "click_sparsity"), ("purchases", "purchase_sparsity")):
            millions = combine(
                lambda size, share: size * share / 10**6, rounded_or_cut(row["exposures"]), rounded(row[sparsity])
            )
            check.number(f"{style.city_title(city)}, {count}", row[count].scaleb(-6), millions, " M")
    return check


def _improvement_iv(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table IV",
        "Improvement",
        "It is the relative increase of the best of ESMS and ESMC over the best baseline.",
    )
    for place, city, probability, aucs in _iv(paper):
        found = gain(_best_of(aucs, FAMILY), _best_of(aucs, _baselines(aucs)))
        check.number(place, paper["table_iv"]["improvement"][city][probability], found, " %")
    return check


def _marks(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER, "Table IV", "bold is the best, italic the second best", "So says its caption; four italics are missing."
    )
    for place, city, probability, aucs in _iv(paper):
        order = sorted(aucs, key=lambda model: aucs[model].point, reverse=True)
        for mark, model in zip(("bold", "italic"), order, strict=False):
            printed = paper["table_iv"][mark][city].get(probability)
            if printed is not None:
                check.statement(f"{place}, {mark}", paper_name(printed), paper_name(model), printed == model)
    return check


def _best(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table IV",
        "all best and second best results are the paper's own, but for one",
        "Section VI-B: all second best results are its own except CTR-AUC of City 4.",
    )
    for place, city, probability, aucs in _iv(paper):
        rival = _best_of(aucs, _baselines(aucs))
        best = _best_of(aucs, FAMILY)
        check.statement(f"{place}, best", "own", sides(best, rival), can_exceed(best, rival))
        second = combine(min, *(aucs[model] for model in FAMILY))
        exception = (city, probability) == ("4", "ctr")
        holds = can_exceed(rival, second) if exception else can_exceed(second, rival)
        check.statement(f"{place}, second", "a baseline" if exception else "own", sides(second, rival), holds)
    return check


def _outperform(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table IV",
        "ESMS and ESMC outperform all baselines in all three AUCs of all cities",
        "Section VI-B says so of both, and says a sentence later that the second best CTR-AUC of City 4 is a baseline.",
    )
    for place, _, _, aucs in _iv(paper):
        for model in FAMILY:
            rival = max(_baselines(aucs), key=lambda name: aucs[name].point)
            text = f"{paper_name(model)} {auc_text(aucs[model])}, {paper_name(rival)} {auc_text(aucs[rival])}"
            check.statement(place, f"{paper_name(model)} above", text, can_exceed(aucs[model], aucs[rival]))
    return check


def _text_iv(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table IV", "statements of section VI-B", "The text restates or sums up the table.")
    text = paper["esmc_text"]
    rises, points = [], []
    for place, city, probability, aucs in _iv(paper):
        rival = _best_of(aucs, [model for model in _baselines(aucs) if model != "esm2_chain"])
        if probability != "ctr":
            holds = can_exceed(aucs["esm2_chain"], rival)
            check.statement(place, "ESMM² best of baselines", sides(aucs["esm2_chain"], rival), holds)
        if probability == "cvr":
            rises.append(gain(aucs["esm2_chain"], rival))
            points.append(difference(aucs["esm2_chain"], rival))
        if city == "4":
            found = gain(_best_of(aucs, FAMILY), aucs["esm2_chain"])
            check.number(f"{place}, over ESMM²", text["city_4_improvement"][probability], found, " %")
    over = text["cvr_gain_of_esm2_chain_over"]
    remark = f"over the best other baseline; as a difference of AUCs it is {float(mean(points).point):.3f}"
    rise = mean(rises)
    holds = can_exceed(rise, rounded(over))
    check.statement("average CVR-AUC gain of ESMM²", f"over {over} %", f"{show(rise, 2)} %", holds, remark)
    for probability, title in AUCS.items():
        esmc, esms = (_average(paper, model, probability) for model in ("esmc", "esms"))
        text_found = f"ESMC {auc_text(esmc)}, ESMS {auc_text(esms)}"
        check.statement(f"average {title}", "ESMC better than ESMS", text_found, can_exceed(esmc, esms))
    averages = {model: _average(paper, model, "cvr") for model in paper["table_iv"]["cities"]["1"]}
    lowest = min(averages, key=lambda model: averages[model].point)
    check.statement("average CVR-AUC", "Shared Bottom worst", f"{paper_name(lowest)} worst", lowest == "shared_bottom")
    return check


def _improvement_v(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table V",
        "Improvement",
        "It is the relative increase over the same model without global carts, whose AUCs stand in Table IV.",
    )
    for place, city, model, probability, new, old in _v(paper):
        printed = paper["table_v"]["improvement"][city][model][probability]
        check.number(place, printed, gain(new, old), " %")
    return check


def _text_v(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table V",
        "statements of section VI-C",
        "The text sums up the table: ESMG outperforms in all experiments; ESMC² is the best of the family and ESMS"
        " the worst, which we read as of averages over the table's three cities.",
    )
    for place, _, model, _, new, old in _v(paper):
        check.statement(place, f"above {paper_name(GLOBAL[model])}", sides(new, old), can_exceed(new, old))
    for probability in ("ctr", "ctcvr"):
        over = paper["esmc_text"][f"{probability}_gain_of_esmc2_over"]
        rise = mean([gain(new, old) for _, _, m, p, new, old in _v(paper) if (m, p) == ("esmc2", probability)])
        holds = can_exceed(rise, rounded(over))
        check.statement(f"average {AUCS[probability]} gain of ESMC²", f"over {over} %", f"{show(rise, 2)} %", holds)
    for probability, title in AUCS.items():
        averages = {}
        for model in (*FAMILY, *GLOBAL):
            table = "table_v" if model in GLOBAL else "table_iv"
            cities = [paper[table]["cities"][city][model] for city in paper["table_v"]["cities"]]
            averages[model] = mean([rounded(aucs[probability]) for aucs in cities])
        order = sorted(averages, key=lambda model: averages[model].point, reverse=True)
        text = ", ".join(f"{paper_name(model)} {auc_text(averages[model])}" for model in order)
        best = can_exceed(averages["esmc2"], averages[order[0]])
        worst = can_exceed(averages[order[-1]], averages["esms"])
        check.statement(f"average {title}", "ESMC² best", text, best)
        check.statement(f"average {title}", "ESMS worst", text, worst)
    return check


def _iv(paper: dict[str, Any]) -> Iterable[tuple[str, str, str, dict[str, Range]]]:
    """Of Table IV: where, city, probability, AUC by model."""
    for city, models in paper["table_iv"]["cities"].items():
        for probability, title in AUCS.items():
            aucs = {model: rounded(values[probability]) for model, values in models.items()}
            yield f"{style.city_title(city)}, {title}", city, probability, aucs


def _v(paper: dict[str, Any]) -> Iterable[tuple[str, str, str, str, Range, Range]]:
    """Of Table V: where, city, model, probability, its AUC, the AUC of the model without global carts."""
    for city, models in paper["table_v"]["cities"].items():
        for model, values in models.items():
            for probability, title in AUCS.items():
                old: Decimal = paper["table_iv"]["cities"][city][GLOBAL[model]][probability]
                place = f"{style.city_title(city)}, {paper_name(model)}, {title}"
                yield place, city, model, probability, rounded(values[probability]), rounded(old)


def _average(paper: dict[str, Any], model: str, probability: str) -> Range:
    return mean([rounded(models[model][probability]) for models in paper["table_iv"]["cities"].values()])


def _best_of(aucs: dict[str, Range], models: Iterable[str]) -> Range:
    return combine(max, *(aucs[model] for model in models))


def _baselines(aucs: dict[str, Range]) -> list[str]:
    return [model for model in aucs if model not in FAMILY]
