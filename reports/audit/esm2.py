"""The figures of the ESM² paper against each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from reports import style
from reports.audit.checks import Check, Range, can_exceed, combine, difference, exact, mean, rounded, show

PAPER = "ESM²"
SCORES = {"cvr_auc": "CVR AUC", "ctcvr_auc": "CTCVR AUC", "ctcvr_gauc": "CTCVR GAUC"}
#: Cuts of Tables 4 and 5: percent of the rows with the highest scores.
CUTS = ("0.1", "0.6", "1")
TOP = {"esm2_table_4": ("Table 4", "CVR"), "esm2_table_5": ("Table 5", "CTCVR")}


def esm2_checks(paper: dict[str, Any]) -> list[Check]:
    """All checks of the paper; ``paper`` is :func:`reports.published.load_printed`."""
    return [
        _shares(paper),
        _gains(paper),
        _order(paper),
        *(check(paper, table) for table in TOP for check in (_f1, _best)),
        _ratio(paper),
        _positives(paper),
        _ablations(paper),
        _paths(paper),
    ]


def _shares(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table 1",
        "shares that the text states",
        "Sections 3.1, 4.1.1 and 4.2.1 state them in whole percent; Table 1 has the counts, which are printed in full.",
    )
    text, counts = paper["esm2_text"], {name: exact(n) for name, n in paper["esm2_table_1"].items() if name != "source"}

    def percent(part: str, whole: str) -> Range:
        return combine(lambda a, b: 100 * a / b, counts[part], counts[whole])

    bought = percent("purchases", "actions")
    check.number("exposures that are clicked", text["clicked"], percent("clicks", "impressions"), " %")
    check.number("clicks that are bought", text["bought_of_clicked"], percent("purchases", "clicks"), " %")
    check.number("positives of the CVR task", text["positives_of_predicted"], percent("purchases", "clicks"), " %")
    over = text["bought_of_actions_over"]
    check.statement("actions that are bought", f"over {over} %", f"{float(bought.point):.2f} %", bought.point > over)
    check.number("actions that are bought, section 3.1", text["bought_of_acted"], bought, " %")
    check.number(
        "clicks with a cart or a wish",
        text["acted"],
        percent("actions", "clicks"),
        " %",
        "sections 3.1 and 4.3.4, perhaps of other days than Table 1",
    )
    both = combine(lambda a, b: a + b, rounded(text["carted"]), rounded(text["wished"]))
    check.number("carts and wishes together", text["carted_plus_wished"], both, " %")
    check.number(
        "rise of the data volume with actions, times",
        text["volume_times"],
        combine(lambda a, b: a / b, bought, percent("purchases", "clicks")),
        "",
        "the share bought of actions over that of clicks; 9 is the ratio of the rounded 9 % and 1 %",
    )
    size = counts["impressions"]
    check.statement(
        "instances", "over 300 million", f"{float(size.point) / 1e6:.1f} million", size.point > text["instances_over"]
    )
    return check


def _gains(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table 3", "gains in the text", "They are differences of the table's scores.")
    models = paper["esm2_table_3"]["models"]
    for gains, new, old in (("dnn_gains", "dnn", "gbdt"), ("esm2_gains", "esm2", "esmm")):
        for score, title in SCORES.items():
            found = difference(rounded(models[new][score]), rounded(models[old][score]))
            check.number(
                f"{style.title(new)} over {style.title(old)}, {title}", paper["esm2_text"][gains][score], found
            )
    return check


def _order(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table 3", "order of the methods in the text", "Section 4.2.1 states it for all scores.")
    models = paper["esm2_table_3"]["models"]
    for better, worse in (("dnn", "gbdt"), ("dnn_os", "dnn"), ("esmm", "dnn_os"), ("esm2", "esmm")):
        for score, title in SCORES.items():
            first, second = models[better][score], models[worse][score]
            holds = can_exceed(rounded(first), rounded(second))
            check.statement(title, f"{style.title(better)} above {style.title(worse)}", f"{first}, {second}", holds)
    return check


def _f1(paper: dict[str, Any], table: str) -> Check:
    check = Check(PAPER, TOP[table][0], "F1 from precision and recall", "F1 = 2 P R / (P + R), the paper's Eq. 14.")
    for cut in CUTS:
        for model, scores in _at(paper, table, cut):
            precision, recall = rounded(scores["precision"]), rounded(scores["recall"])
            found = combine(lambda p, r: 2 * p * r / (p + r), precision, recall)
            check.number(f"top {cut} %, {style.title(model)}", scores["f1"], found, " %")
    return check


def _best(paper: dict[str, Any], table: str) -> Check:
    check = Check(
        PAPER,
        TOP[table][0],
        "ESM² is the best at every cut",
        "Section 4.2.1 says so, and the table sets all figures of ESM² in bold.",
    )
    for cut in CUTS:
        for score in ("recall", "precision", "f1"):
            values = {model: scores[score] for model, scores in _at(paper, table, cut)}
            best = max(values, key=lambda model: values[model])
            holds = can_exceed(rounded(values["esm2"]), rounded(values[best]))
            text = f"{style.title(best)} {values[best]} %"
            check.statement(f"{score}, top {cut} %", f"ESM² {values['esm2']} %", text, holds)
    return check


def _ratio(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Tables 4 and 5",
        "recall / precision is one number at a cut",
        "Recall is TP / P and precision TP / k, with the k rows above the cut and the P positives of one test set."
        " Their ratio is k / P whatever the method, so that a method with more recall also has more precision. Here"
        " are the methods that differ from the value that most share.",
    )
    for table, (_, task) in TOP.items():
        for cut in CUTS:
            printed = dict(_at(paper, table, cut))
            found = {model: _quotient(scores["recall"], scores["precision"]) for model, scores in printed.items()}
            shared = agreeing(found)
            names = ", ".join(style.title(model) for model in found if model in shared)
            common = (
                f"against {_ratio_text(mean([found[name] for name in shared]))} of {names}"
                if shared
                else "none is shared"
            )
            for model, scores in printed.items():
                place = f"{task} top {cut} %, {style.title(model)}"
                text = f"{scores['recall']} % / {scores['precision']} %"
                check.statement(place, text, f"{_ratio_text(found[model])}, {common}", model in shared)
    return check


def agreeing(ranges: dict[str, Range]) -> set[str]:
    """The largest group of two or more whose ranges have a value in common; empty where no two have."""
    groups = [{name for name, other in ranges.items() if other.low <= one.low <= other.high} for one in ranges.values()]
    largest = max(groups, key=len)
    return largest if len(largest) > 1 else set()


def _positives(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Tables 4 and 5",
        "recall / precision against the share of positives",
        "With k = cut × n rows above the cut, the share of positives P / n is cut × precision / recall, and a test set"
        " has one share, whatever the cut. For CVR it is about 1 %, as section 4.2.1 says. For CTCVR we take that of"
        " Table 1, purchases of impressions, to one digit, for the test days are only some of its days. Recomputed is"
        " the mean over methods, with the lowest and the highest.",
    )
    counts = paper["esm2_table_1"]
    overall = round(Decimal(100 * counts["purchases"]) / counts["impressions"], 2)
    for table, stated in (("esm2_table_4", paper["esm2_text"]["positives_of_predicted"]), ("esm2_table_5", overall)):
        for cut in CUTS:
            percent = exact(Decimal(cut))
            shares = [
                combine(lambda a, b: a * b, percent, _quotient(scores["precision"], scores["recall"]))
                for _, scores in _at(paper, table, cut)
            ]
            hull = Range(mean(shares).point, min(share.low for share in shares), max(share.high for share in shares))
            holds = hull.low <= rounded(stated).high and hull.high >= rounded(stated).low
            check.statement(f"{TOP[table][1]} top {cut} %", f"about {stated} %", f"{show(hull, 3)} %", holds)
    return check


def _ablations(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Tables 6 and 7",
        "the best choice, and ESM² of Table 3 with it",
        "Sections 4.3.2 and 4.3.4: 64 features and Cart & Wish are best, and used in all experiments.",
    )
    whole = paper["esm2_table_3"]["models"]["esm2"]
    features = paper["esm2_table_6"]["cvr_auc"]
    best = max(features, key=lambda count: features[count])
    check.statement("Table 6", "64 features best", f"{best} features best", best == "64")
    check.number("Table 6, 64 features, CVR AUC", features["64"], rounded(whole["cvr_auc"]))
    actions = paper["esm2_table_7"]["actions"]
    for score, title in SCORES.items():
        best = max(actions, key=lambda action: actions[action][score])
        check.statement(f"Table 7, {title}", "cart_wish best", f"{best} best", best == "cart_wish")
        check.number(f"Table 7, Cart & Wish, {title}", actions["cart_wish"][score], rounded(whole[score]))
    return check


def _paths(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER, "Table 8", "statements of section 4.4", "The text sums up the table, and the user groups of Fig. 7."
    )
    models = paper["esm2_table_8"]["models"]
    rises: dict[tuple[str, str], Range] = {}
    for probability, aucs in models["esm2"].items():
        for path, auc in aucs.items():
            other = models["esmm"][probability][path]
            rises[probability, path] = difference(rounded(auc), rounded(other))
            holds = can_exceed(rounded(auc), rounded(other))
            check.statement(f"{probability.upper()}, {path}", "ESM² above ESMM", f"{auc}, {other}", holds)
    daction, oaction = rises["ctcvr", "daction"], rises["ctcvr", "oaction"]
    text = f"{float(daction.point):.4f}, {float(oaction.point):.4f}"
    check.statement("CTCVR gain", "larger on DAction than on OAction", text, can_exceed(daction, oaction))
    groups = paper["esm2_text"]["group_gains"]
    text = ", ".join(f"{value} %" for value in groups)
    check.statement("gain by user group", "increases with purchases", text, groups == sorted(groups))
    return check


def _at(paper: dict[str, Any], table: str, cut: str) -> list[tuple[str, dict[str, Decimal]]]:
    """Model, and recall, precision and F1 at a cut."""
    return [(model, cuts[cut]) for model, cuts in paper[table]["models"].items()]


def _quotient(first: Decimal, second: Decimal) -> Range:
    return combine(lambda a, b: a / b, rounded(first), rounded(second))


def _ratio_text(found: Range) -> str:
    return f"{float(found.point):.3f}"
