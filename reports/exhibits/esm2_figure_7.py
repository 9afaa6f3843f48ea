"""ESM² Figure 7: ESM² against ESMM by how often the user bought in the last three months."""

from __future__ import annotations

from pathlib import Path

from reports import effects
from reports.esm2_figures.group_plots import draw
from reports.esm2_figures.group_words import data_words, findings, frame, share_table, value_table
from reports.esm2_figures.groups import MODELS, groups_of
from reports.esm2_figures.knobs import MEASURES, OBSERVED
from reports.exhibit import Demand, Exhibit
from reports.markdown import picture
from reports.study import Study
from reports.sweep.show import TRUTH, names

TEXT = """\
AUCs on the test days for four groups of users, by their purchases in the three months before. CVR-AUC is over the
clicked rows of a group, CTCVR-AUC over all of its exposures; the gain is ESM²'s AUC over ESMM's, minus 1. The paper's
last group is printed as “[50,+]”; ours begins at 51. *Change per group* is the least-squares slope over the groups,
taken seed by seed. The paper only draws its AUCs; its gains stand below ours. In the simulated shop a user's purchases
of three months are drawn, correlated with the taste for buying and with visits; they are no count of the log's own
purchases, which are far fewer."""


class Esm2Figure7(Exhibit):
    name = "esm2_figure_7"
    title = "ESM² Figure 7: users by their purchases"
    needs = "stored predictions, purchases of users"
    order = 231
    paper = "esm2"
    demands = (Demand(MODELS),)

    def build(self, study: Study, folder: Path) -> str:
        found = groups_of(study)
        problems = " ".join(found.problems)
        if not found.parts:
            return problems or f"Not stored yet; `bench run --exhibit {self.name}` trains it."
        if not any(model in found.entries for model in MODELS):
            return f"Neither model is stored yet; `bench run --exhibit {self.name}` trains them."
        tested = found.compare()
        self.write_csv(frame(found, tested), folder)
        path = self.picture_path(study, folder)
        draw(found, f"ESM² and ESMM by the purchases of the user: {study.title}", path)
        parts = [
            f"{TEXT} {effects.READING} {TRUTH}",
            "\n".join(findings(found, tested)),
            " ".join([*data_words(found), problems]).strip(),
            share_table(found),
            picture(path.name, "AUCs of ESMM and ESM² and the gain by the purchases of the user"),
        ]
        for measure in MEASURES:
            if measure in OBSERVED or found.known(measure):
                parts += [f"{names([measure])}:", value_table(found, measure, tested)]
        return "\n\n".join(part for part in parts if part)
