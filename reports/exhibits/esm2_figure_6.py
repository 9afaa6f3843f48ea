"""ESM² Figure 6: dropout, number of layers and dimension of the item embedding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.core.config import PRESETS
from bench.metrics.compare import adjust
from reports import effects
from reports.esm2_figures.knob_plots import draw
from reports.esm2_figures.knob_words import (
    data_words,
    findings,
    frame,
    lacking,
    level_table,
    summary_table,
    truth_table,
)
from reports.esm2_figures.knobs import KNOBS, MODEL, TRUE, Panel, panels
from reports.exhibit import Demand, Exhibit
from reports.markdown import picture
from reports.study import Study
from reports.sweep.show import SETS, TRUTH
from reports.sweep.values import Contrasts

#: The preset itself, and every value of a knob that is not the preset's.
CHANGES = (
    {},
    *(
        change
        for knob in KNOBS
        for change in knob.changes.values()
        if any(getattr(PRESETS["esm2"], name) != value for name, value in change.items())
    ),
)

TEXT = """\
AUCs of ESM² on the test days over three knobs of its network, each varied while the others stay at the paper's choice:
the dropout ratio, the number of layers of every network, and the dimension of the item's embedding. CVR-AUC is over
clicked rows, CTCVR-AUC over all exposures; values are means over seeds (and cities, if there are several) ± half of
the 95 % interval. The paper only draws its curves, so there is no figure of it to print beside ours. It stacks
“5 hidden layers” of the widths 512, 256, 128, 32 and 2 (its Table 2): its count includes the output. The shapes of
the other depths are ours."""


class Esm2Figure6(Exhibit):
    name = "esm2_figure_6"
    title = "ESM² Figure 6: dropout, layers, item embedding"
    needs = "stored predictions"
    order = 230
    paper = "esm2"
    demands = (Demand((MODEL,), CHANGES),)

    def build(self, study: Study, folder: Path) -> str:
        found = panels(study)
        if all(len(panel.sweep.stored()) < 2 for panel in found):
            return f"Not stored yet; `bench run --exhibit {self.name}` trains it."
        tested = adjust({key: change for panel in found for key, change in panel.contrasts().items()})
        self.write_csv(frame(found, tested), folder)
        return "\n\n".join(
            [
                f"{TEXT} {effects.READING} {TRUTH}",
                "\n".join(text for panel in found for text in findings(panel, tested)),
                f"{SETS} Validation and the paper choose one value.",
                summary_table(found),
                " ".join([*data_words(found), *lacking(found, self.name)]),
                *self._pictures(study, found, tested, folder),
                *_tables(found, tested),
            ]
        )

    def _pictures(self, study: Study, found: Sequence[Panel], tested: Contrasts, folder: Path) -> Iterator[str]:
        levels, changes = (self.picture_path(study, folder, part) for part in ("levels", "differences"))
        draw(found, f"ESM² over dropout, layers and item embedding: {study.title}", levels)
        draw(found, f"ESM² against the paper's choice of each knob: {study.title}", changes, tested)
        yield picture(levels.name, "CVR-AUC and CTCVR-AUC over dropout, layers and dimension of the item embedding")
        yield picture(changes.name, "the same as paired differences to the paper's choice")


def _tables(found: Sequence[Panel], tested: Contrasts) -> Iterator[str]:
    for panel in found:
        yield f"#### {panel.knob.title}"
        yield level_table(panel, tested)
        if any(panel.curve(measure) for measure in TRUE):
            yield "Against the truth:"
            yield truth_table(panel, tested)
