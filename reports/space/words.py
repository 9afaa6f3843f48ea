"""What the errors by sample space say about sample selection bias, in words."""

from __future__ import annotations

from collections.abc import Iterator

from reports import style
from reports.effects import sign
from reports.measures import Entry
from reports.pooled import Key
from reports.space.errors import Errors
from reports.wording import Compared, grouped, plain

#: Models that learn CVR from clicked rows alone; all others learn it over the entire space.
CLICK_TRAINED = frozenset(("shared_bottom", "mmoe", "gbdt", "dnn", "dnn_os"))

BETTER = {1: "better", -1: "worse", 0: "not distinguishable"}


def claims(errors: Errors, compared: Compared) -> list[str]:
    """A line for each question about the premise of entire-space models."""
    base = errors.entry("shared_bottom")
    lines = ["**The premise** is not measured: it takes Shared Bottom and a model of the entire space."]
    if base is not None and (found := list(_premise(errors, compared, base))):
        lines = found
    for other in ("shared_bottom", "esmm"):
        lines += _against(errors, compared, other)
    lines += [*_loss(errors, compared), *_counts(errors, compared), *_shift(errors, compared)]
    return lines + (list(_level(errors, compared, base)) if base else [])


def _premise(errors: Errors, compared: Compared, base: Entry) -> Iterator[str]:
    """Whether entire-space models win, and win more, where click-trained ones were never trained."""
    found: dict[Entry, str] = {}
    for entry in errors.entries:
        gain, shift = (compared.get(Key(name, entry, base)) for name in ("auc/unclicked", "auc_shift"))
        if entry[0] not in CLICK_TRAINED and gain and shift:
            found[entry] = _verdict(sign(gain), sign(shift))
    if found:
        yield (
            "**The premise: a model trained on clicked rows fails on the others, one of the entire space does not.**"
            f" Against {style.title(*base)}. {grouped(found)}."
        )


def _verdict(gain: int, shift: int) -> str:
    """From the gain on unclicked rows, and how it differs from that on clicked ones."""
    verdict = {(1, 1): "holds", (0, 0): "**not supported**"}.get((gain, shift), "holds in part")
    if gain < 0 or (gain == 0 and shift < 0):
        verdict = "**contradicted**"
    rest = {1: "more in its favour than", -1: "less in its favour than", 0: "not distinguishable from that"}[shift]
    return f"{verdict}, {BETTER[gain]} on unclicked rows, the difference there {rest} on clicked rows"


def _against(errors: Errors, compared: Compared, model: str) -> Iterator[str]:
    other = errors.entry(model)
    for space in ("clicked", "unclicked") if other else ():
        found = {entry: compared.get(Key(f"auc/{space}", entry, other)) for entry in errors.entries}
        words = {entry: BETTER[sign(contrast)] for entry, contrast in found.items() if contrast}
        if words:
            yield f"**AUC against {style.title(model)}, {space} rows.** {grouped(words)}."


def _loss(errors: Errors, compared: Compared) -> Iterator[str]:
    """Whether a model covers less of the way to the ceiling off the clicked rows."""
    words = {
        1: "more on unclicked rows",
        -1: "less on unclicked rows",
        0: "not distinguishable",
    }
    found = {entry: c for entry in errors.entries if (c := compared.get(Key("share_shift", entry)))}
    if not found:
        return
    text = grouped({entry: words[sign(contrast)] for entry, contrast in found.items()})
    clicked = {entry: c for entry, c in found.items() if entry[0] in CLICK_TRAINED}
    detail = "; ".join(f"{style.title(*entry)} {plain(contrast)}" for entry, contrast in clicked.items())
    detail = f" Trained on clicked rows alone: {detail}." if detail else ""
    title = "**Does a model cover less of the way to the ceiling where nothing was clicked?**"
    yield f"{title} {text}.{detail}"


def _counts(errors: Errors, compared: Compared) -> Iterator[str]:
    """Over- and under-prediction by sample space."""
    words = {1: "too many purchases", -1: "too few", 0: "not distinguishable from right"}
    most = max(errors.entries, key=lambda entry: len(errors.pooled.estimates("log_pcoc/unclicked", entry)))
    true = [errors.pooled.mean(f"true_mean/{space}", most) for space in ("clicked", "unclicked")]
    if true[0] and true[1]:
        yield f"**True mean CVR:** {true[0].mean:.4f} on clicked rows, {true[1].mean:.4f} on unclicked ones."
    for space in ("clicked", "unclicked"):
        found = {entry: compared.get(Key(f"log_pcoc/{space}", entry)) for entry in errors.entries}
        text = {entry: words[sign(contrast)] for entry, contrast in found.items() if contrast}
        if text:
            yield f"**Predicted purchases, {space} rows:** {grouped(text)}."


def _shift(errors: Errors, compared: Compared) -> Iterator[str]:
    """Whether the clicked rows teach a level that is wrong elsewhere."""
    words = {1: "rises", -1: "falls", 0: "not distinguishable"}
    found = {entry: c for entry in errors.entries if (c := compared.get(Key("log_pcoc_shift", entry)))}
    if found:
        text = grouped({entry: words[sign(contrast)] for entry, contrast in found.items()})
        yield f"**From clicked to unclicked rows, predicted over true CVR:** {text}."


def _level(errors: Errors, compared: Compared, base: Entry) -> Iterator[str]:
    """Whether other models come closer to the level of the unclicked rows."""
    words = {1: "further from the truth", -1: "closer to the truth", 0: "not distinguishable"}
    found = {entry: compared.get(Key("level_error", entry, base)) for entry in errors.entries}
    text = {entry: words[sign(contrast)] for entry, contrast in found.items() if contrast}
    if text:
        yield f"**Level on unclicked rows, against {style.title(*base)}.** {grouped(text)}."
