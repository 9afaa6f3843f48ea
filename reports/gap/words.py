"""What the measured gaps say about the claims of ESMC section IV and V, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from reports import style
from reports.effects import sign
from reports.gap.values import CALIBRATED, CASES, Gaps
from reports.measures import Entry
from reports.pooled import Key
from reports.wording import Compared, grouped, names, plain, told

#: By sign of a gap: what the model predicts.
DIRECTION = {1: "too few purchases", -1: "too many purchases", 0: "not distinguishable from none"}

#: By sign of a difference of sizes.
SIZE = {1: "larger", -1: "smaller", 0: "not distinguishable"}


def claims(gaps: Gaps, compared: Compared) -> list[str]:
    """A line for each claim of the paper, and for each question that it leaves."""
    chain = gaps.main("esm2_chain")
    lines: list[str] = []
    if chain is None or Key("gap/good", chain) not in compared:
        lines.append("**The gap of ESM² chain (Eq. 9, 10)** is not measured: none of its cells is stored.")
    else:
        lines += [_bad_case(gaps, compared, chain), _good_case(gaps, compared, chain)]
    lines += _all_models(gaps, compared)
    if chain is not None:
        lines += [*_chain_rule(gaps, compared, chain), *_family(gaps, compared, chain)]
    lines += [*_calibration(gaps, compared), *_terms(gaps, compared), *_contrast(gaps, compared)]
    return lines


def _bad_case(gaps: Gaps, compared: Compared, chain: Entry) -> str:
    key = Key("gap/bad", chain)
    title = "**A gap in the bad case (Eq. 9).**"
    if key not in compared:
        return f"{title} Not measured: the test rows have no bad case."
    verdict = {
        1: "Holds: ESM² chain predicts too few purchases,",
        -1: "There is a gap, but ESM² chain predicts too many purchases,",
        0: "**Not confirmed**: the gap of ESM² chain is not distinguishable from none,",
    }
    return (
        f"{title} {verdict[sign(compared[key])]} {_means(gaps, chain, 'bad')}; gap {told(gaps.pooled, compared, key)}."
    )


def _good_case(gaps: Gaps, compared: Compared, chain: Entry) -> str:
    key = Key("gap/good", chain)
    direction = sign(compared[key])
    verdict = "Not contradicted: the gap of ESM² chain is not distinguishable from none,"
    if direction:
        verdict = f"**Contradicts the paper**: ESM² chain predicts {DIRECTION[direction]} there too,"
        verdict = verdict if direction == sign(compared.get(Key("gap/bad", chain))) else verdict.replace(" too,", ",")
    means = _means(gaps, chain, "good")
    return f"**No gap in the good case (Eq. 10).** {verdict} {means}; gap {told(gaps.pooled, compared, key)}."


def _means(gaps: Gaps, entry: Entry, case: str) -> str:
    truth, estimate = (gaps.pooled.mean(f"{name}/{case}", entry) for name in ("truth", "estimate"))
    return f"E[R̂] {estimate.mean:.3f} where E[R] is {truth.mean:.3f}" if truth and estimate else ""


def _all_models(gaps: Gaps, compared: Compared) -> Iterator[str]:
    for case in CASES:
        found = {entry: compared.get(Key(f"gap/{case}", entry)) for entry in gaps.entries}
        words = {entry: DIRECTION[sign(contrast)] for entry, contrast in found.items() if contrast}
        if words:
            yield f"**All models, {case} case.** {grouped(words)}."


def _chain_rule(gaps: Gaps, compared: Compared, chain: Entry) -> Iterator[str]:
    """Whether models that know no cart have the gap too."""
    direction = sign(compared.get(Key("gap/bad", chain)))
    without = [entry for entry in gaps.entries if not gaps.has_terms(entry) and Key("gap/bad", entry) in compared]
    parts = []
    if without and direction:
        same = [entry for entry in without if sign(compared[Key("gap/bad", entry)]) == direction]
        parts.append(
            f"{names(same)} know no cart, and predict {DIRECTION[direction]} in the bad case as well: the chain rule"
            " alone does not explain the gap"
            if same
            else f"{names(without)} know no cart, and do not have the gap of ESM² chain"
        )
    esmm = gaps.main("esmm")
    against = compared.get(Key("size/bad", chain, esmm)) if esmm else None
    if against:
        parts.append(f"the gap of ESM² chain against that of ESMM: {SIZE[sign(against)]}, {plain(against)}")
    if parts:
        yield f"**Is it the chain rule?** {'; '.join(parts)}."


def _family(gaps: Gaps, compared: Compared, chain: Entry) -> Iterator[str]:
    """Whether the models made against the gap have it."""
    for entry in filter(None, map(gaps.main, CALIBRATED)):
        key = Key("gap/bad", entry)
        against, good = (compared.get(Key(f"size/{case}", entry, chain)) for case in CASES)
        if key not in compared or against is None:
            continue
        verdict = {
            1: "**Contradicts the paper**: its gap in the bad case is larger than that of ESM² chain",
            0: "**Not confirmed**: its gap in the bad case is not distinguishable in size from that of ESM² chain",
            -1: "Reduced, not removed" if sign(compared[key]) else "Yes, as far as the data tell",
        }[sign(against)]
        text = f"{verdict}; gap {told(gaps.pooled, compared, key)}, size against ESM² chain {plain(against)}"
        text += f". In the good case the size of its gap is {SIZE[sign(good)]}, {plain(good)}" if good else ""
        yield f"**Does {style.title(*entry)} remove the gap (Eq. 16)?** {text}."


def _calibration(gaps: Gaps, compared: Compared) -> Iterator[str]:
    """Whether Sample Calibration puts the right term right, and what becomes of the rest."""
    for model in CALIBRATED:
        entry, other = gaps.main(model), gaps.uncalibrated(model)
        if entry is None or other is None:
            continue
        right, left, bad, good = (
            compared.get(Key(name, entry, other))
            for name in ("size_right/bad", "size_left/bad", "size/bad", "size/good")
        )
        if right is None or left is None or bad is None or good is None:
            continue
        verdict = {
            -1: "Its right term in the bad case comes closer to the truth",
            0: "**Not confirmed**: no effect on the right term in the bad case can be told",
            1: "**Contradicts the paper**: the right term in the bad case moves away from the truth",
        }[sign(right)]
        rest = (("left term", left), ("gap in the bad case", bad), ("gap in the good case", good))
        told_rest = "; ".join(f"{name} {SIZE[sign(found)]}, {plain(found)}" for name, found in rest)
        yield (
            f"**Does Sample Calibration mend {style.title(model)} (Eq. 15)?** {verdict}, {plain(right)} on a log scale."
            f" Size of the rest, with it against without it: error of the {told_rest}."
        )


def _terms(gaps: Gaps, compared: Compared) -> Iterator[str]:
    """Which term makes the gap."""
    for case in CASES:
        found: dict[Entry, str] = {}
        for entry in gaps.entries:
            keys = [Key(f"{name}/{case}", entry) for name in ("gap", "log_factor_left", "log_factor_right")]
            if all(key in compared for key in keys):
                whole, left, right = (sign(compared[key]) for key in keys)
                found[entry] = _cause(-whole, left, right)
        if found:
            yield f"**Left or right term, {case} case?** {grouped(found)}."


def _cause(whole: int, left: int, right: int) -> str:
    """What makes the estimate too high (1) or too low (-1), from the signs of the terms."""
    level = {1: "too high", -1: "too low", 0: "not distinguishable from the truth"}
    terms = f"left term {level[left]}, right term {level[right]}"
    if not whole:
        return f"no gap that the data tell, {terms}" + (", they cancel" if left * right < 0 else "")
    causes = [name for name, found in (("left", left), ("right", right)) if found == whole]
    if not causes:
        return f"a gap, but neither term alone can be told to cause it ({terms})"
    return f"due to the {' and the '.join(causes)} term ({terms})"


def _contrast(gaps: Gaps, compared: Compared) -> Iterator[str]:
    """Whether the models tell the cases apart."""
    errors = {entry: c for entry in gaps.entries if (c := compared.get(Key("log_contrast_error", entry)))}
    ratios = {entry: math.exp(c.difference) for entry in errors if (c := compared.get(Key("log_contrast", entry)))}
    if not ratios:
        return
    most = max(ratios, key=lambda entry: len(gaps.pooled.estimates("log_contrast", entry)))
    truth = gaps.pooled.mean("log_true_contrast", most)
    lowest, highest = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    words = {1: "too much contrast", -1: "too little contrast", 0: "not distinguishable from the true contrast"}
    blind = [entry for entry in ratios if sign(compared[Key("log_contrast", entry)]) == 0]
    yield (
        "**Do the models tell the cases apart?** The true CVR of the bad case is"
        f" {math.exp(truth.mean) if truth else math.nan:.2f} times that of the good case. Predicted:"
        f" {ratios[lowest]:.2f} ({style.title(*lowest)}) to {ratios[highest]:.2f} ({style.title(*highest)})."
        f" {grouped({entry: words[sign(c)] for entry, c in errors.items()})}."
        + (f" Not at all, as far as the data tell: {names(blind)}." if blind else "")
    )
