"""What a model needs and a log cannot supply, and how to say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: What "it needs …" says of the facts that are no labels.
WORDS = {
    "time": "times",
    "visit": "visits that a user comes back from",
    "search": "carts of the search domain",
}


def lacking(
    needs: Sequence[str], lacks: Mapping[str, str], training: Mapping[str, int] | None = None
) -> dict[str, str]:
    """The facts of ``needs`` that are not there, in this order, each with a reason that follows "the log".

    Args:
        needs: of a model, of :data:`~bench.data.tables.FACTS`.
        lacks: of a source, a manifest or encoded data.
        training: positive labels of the training rows; None where the data are not encoded yet.
    """
    found = {}
    for fact in needs:
        if fact in lacks:
            found[fact] = lacks[fact]
        elif training is not None and fact not in WORDS and not training.get(fact, 0):
            found[fact] = "has none in its training rows"
    return found


def in_words(lacking: Mapping[str, str]) -> str:
    """What a model needs in vain, as in ``cart labels (the log has no carts), times (the log has days only)``."""
    return ", ".join(f"{WORDS.get(fact, f'{fact} labels')} (the log {reason})" for fact, reason in lacking.items())
