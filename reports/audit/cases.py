"""The figures of the ESMC paper against each other: the cases of Table VI, the online test of Table VII."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from reports import style
from reports.audit.checks import (
    Check,
    auc_text,
    can_exceed,
    combine,
    difference,
    gain,
    mean,
    paper_name,
    rounded,
    show,
    sides,
)

PAPER = "ESMC"


def case_checks(paper: dict[str, Any]) -> list[Check]:
    """Checks of Tables VI and VII; ``paper`` is :func:`reports.published.load_printed`."""
    return [_improvement_vi(paper), _text_vi(paper), _cases(paper), _case_gains(paper), _online(paper)]


def _improvement_vi(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table VI", "Improvement", "It is the relative increase of ESMS over ESMM².")
    for place, row in _vi(paper):
        check.number(place, row["improvement"], gain(rounded(row["esms"]), rounded(row["esm2_chain"])), " %")
    return check


def _text_vi(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table VI", "statements of section VI-E", "The text sums up the table.")
    for place, row in _vi(paper):
        esms, chain = rounded(row["esms"]), rounded(row["esm2_chain"])
        check.statement(place, "ESMS above ESMM²", sides(esms, chain), can_exceed(esms, chain))
    rises = {
        case: mean([gain(rounded(row["esms"]), rounded(row["esm2_chain"])) for row in paper["table_vi"][case].values()])
        for case in ("bad", "good")
    }
    over, near = (paper["esmc_text"][name] for name in ("bad_case_gain_over", "good_case_gain_near"))
    holds = can_exceed(rises["bad"], rounded(over))
    check.statement("average gain, bad case", f"over {over} %", f"{show(rises['bad'], 2)} %", holds)
    check.number("average gain, good case", near, rises["good"], " %", "the text says near, which we read as rounded")
    return check


def _cases(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table VI",
        "the CVR-AUC of Table IV lies between those of the two cases",
        "Every purchase is a bad or a good case. If both cases have the clicked rows without purchase as negatives,"
        " the overall CVR-AUC is the mean of the two, weighted by their purchases, and lies between them, whatever"
        " the weights. It lies above both in every city, for both models. And the text's own reading, that only"
        " conversion samples are taken and all labels are 1, leaves no negatives, and so no AUC at all.",
    )
    for city, models in paper["table_iv"]["cities"].items():
        for model in ("esm2_chain", "esms"):
            whole = rounded(models[model]["cvr"])
            bad, good = (rounded(paper["table_vi"][case][city][model]) for case in ("bad", "good"))
            between = can_exceed(whole, combine(min, bad, good)) and can_exceed(combine(max, bad, good), whole)
            excess = whole.point - max(bad.point, good.point)
            remark = "" if between else f"{float(excess):.5f} above both" if excess > 0 else "below both"
            text = f"bad {auc_text(bad)}, good {auc_text(good)}"
            place = f"{style.city_title(city)}, {paper_name(model)}"
            check.statement(place, f"overall {models[model]['cvr']}", text, between, remark)
    return check


def _case_gains(paper: dict[str, Any]) -> Check:
    check = Check(
        PAPER,
        "Table VI",
        "the gain of ESMS over ESMM² in Table IV lies between those in the two cases",
        "The weights of the two cases are the same for both models, so that the difference of their overall CVR-AUCs"
        " lies between the differences in the two cases, under the same condition.",
    )
    for city, models in paper["table_iv"]["cities"].items():
        whole = difference(rounded(models["esms"]["cvr"]), rounded(models["esm2_chain"]["cvr"]))
        rows = [paper["table_vi"][case][city] for case in ("bad", "good")]
        bad, good = (difference(rounded(row["esms"]), rounded(row["esm2_chain"])) for row in rows)
        between = can_exceed(whole, combine(min, bad, good)) and can_exceed(combine(max, bad, good), whole)
        text = f"bad {auc_text(bad)}, good {auc_text(good)}"
        smaller = min(bad.point, good.point)
        remark = "" if between or whole.point <= 0 else f"{float(smaller / whole.point):.0f} times in the smaller case"
        check.statement(style.city_title(city), f"overall {auc_text(whole)}", text, between, remark)
    return check


def _online(paper: dict[str, Any]) -> Check:
    check = Check(PAPER, "Table VII", "averages over the seven days, in table and text", "They are means of the days.")
    for metric, row in paper["table_vii"]["metrics"].items():
        days = [rounded(day) for day in row["days"]]
        check.number(f"{row['title']}, table", row["average"], mean(days), " %")
        check.number(f"{row['title']}, text", paper["esmc_text"]["online_gain"][metric], mean(days), " %")
        text = f"lowest {min(row['days'])} %"
        check.statement(f"{row['title']}, every day", "above the base model", text, min(days).low > 0)
    return check


def _vi(paper: dict[str, Any]) -> Iterable[tuple[str, dict[str, Decimal]]]:
    for case in ("bad", "good"):
        for city, row in paper["table_vi"][case].items():
            yield f"{style.city_title(city)}, {case} case", row
