"""ESM² Table 7: which behaviours make up the deterministic action."""

from __future__ import annotations

from pathlib import Path

from reports.esm2.page import judged, page
from reports.esm2.paper import SCORES, is_published, scores
from reports.esm2.show import frame
from reports.esm2.values import Table
from reports.exhibit import Demand, Exhibit
from reports.measures import Entry
from reports.study import Study

#: In the paper's order.
ACTIONS = {
    "cart": "Cart",
    "wish": "Wish",
    "cart_wish": "Cart & Wish",
    "cart_wish_intent": "Cart & Wish & Intent",
}
BASE = "cart_wish"

TEXT = """\
ESM² with the DAction node made of these behaviours in training; every difference is from Cart & Wish, which the paper
finds best. *Intent* adds the clicked rows of a high intent score, which is predicted from what the user did with the
item before. The test labels are the same for all lines."""


class Esm2Table7(Exhibit):
    name = "esm2_table_7"
    title = "ESM² Table 7: which behaviours make up the deterministic action"
    needs = "stored predictions"
    order = 244
    paper = "esm2"
    demands = (Demand(("esm2",), tuple({"action": action} for action in ACTIONS)),)

    def build(self, study: Study, folder: Path) -> str:
        entries: dict[str, Entry] = {action: ("esm2", study.variant_of({"action": action})) for action in ACTIONS}
        published: dict[tuple[Entry, str], float] = {}
        for action, printed in study.published.esm2_table_7.actions.items() if is_published(study) else ():
            published |= scores(entries[action], printed)
        shown = Table(study, {entry: ACTIONS[action] for action, entry in entries.items()}, SCORES, published)
        pairs = [(entries[action], entries[BASE]) for action in ACTIONS if action != BASE]
        observed, truth = judged(shown, pairs), judged(shown.against_truth(), pairs)
        self.write_csv(frame(observed, truth), folder)
        return "\n\n".join([TEXT, *page(observed, pairs, self.name, first="DAction", truth=truth)])
