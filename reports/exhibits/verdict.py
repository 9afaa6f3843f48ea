"""When ESMC is worth it, and when ESMM is enough: the worlds of all robustness exhibits together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bench.metrics.compare import Contrast
from reports import effects, style
from reports.aucs import ALPHA
from reports.exhibit import Exhibit
from reports.markdown import MISSING, picture, table
from reports.robustness.answers import SMALL, clicks, enough, paper, rules, worth
from reports.robustness.axes import AXES, CITY, DEFAULT
from reports.robustness.findings import MEASURES
from reports.robustness.frame import COLUMNS, contrast_row, published
from reports.robustness.picture import draw_map
from reports.robustness.text import NO_WORLDS, pair_title, seeds, tested
from reports.robustness.verdict import ESMC_ESMM, PAIRS, Verdict, verdict
from reports.study import Study

READING = f"""\
This puts together the {{count}} stored worlds of the robustness exhibits: City {CITY} of the simulation, one setting of
it moved at a time. AUCs are taken against the true probabilities, as there. {effects.READING} That is {{tests}} tests:
{len(PAIRS)} pairs of models in every world and measure, their means over worlds, and trends along the axes. Gains
below {SMALL} in AUC are counted apart, since the paper calls 0.1 % "already considerable" (its footnote 5).

Intervals hold for test users and seeds within these simulated worlds; another draw of them (another `--data-seed`), and
a real shop, add chance that they do not contain. Which worlds there are was declared beforehand, but a count of worlds
is no probability. The worlds share random numbers: a mean over them is taken seed by seed, with the error over users as
large as if all worlds erred alike."""

MARKS = {1: "▲", -1: "▼", 0: "○"}

MARKED = f"""\
First model against second, in {", in ".join(MEASURES.values())}: ▲ better, ▼ worse, ○ not distinguishable (each at
p < {ALPHA} after Holm's correction over this exhibit), - not stored."""


class VerdictExhibit(Exhibit):
    name = "verdict"
    title = "When is ESMC worth it, and when is ESMM enough?"
    needs = "stored predictions"
    order = 42
    paper = "esmc"
    demands = tuple(axis.demand for axis in AXES.values())

    def build(self, study: Study, folder: Path) -> str:
        if study.source is None:
            return NO_WORLDS
        found = verdict(study)
        if not found.contrasts:
            return f"No world has two of the models yet: `bench run --exhibit {self.name}` trains them."
        self.write_csv(frame(study, found), folder)
        tests = len(found.contrasts) + len(found.means) + len(found.trends)
        parts = [READING.format(count=len(found.places), tests=tests), *_absent(self.name, found)]
        parts.append(seeds({contrast.n_seeds for contrast in found.contrasts.values()}))
        parts += ["**When is ESMC worth it?** ESMC against ESMM:", _list(worth(found))]
        parts += [f"**When is ESMM enough?** {enough(found)}"]
        parts += ["**When is Shared Bottom, its CVR trained on clicks, better than both?**", _list(clicks(found))]
        parts += ["**Rules of thumb** that the data support:", _list(rules(found))]
        path = self.picture_path(study, folder)
        if any(found.known(measure, ESMC_ESMM) for measure in MEASURES):
            heading = f"{study.title}, City {CITY}: {pair_title(ESMC_ESMM)}, AUC against the true probabilities"
            draw_map(found, ESMC_ESMM, heading, path)
            parts.append(picture(path.name, f"{pair_title(ESMC_ESMM)} in every world and measure"))
        parts += ["#### Who beats whom, by world", MARKED, marks(found)]
        parts += ["#### Counts and means over worlds", counts(study, found)]
        if against := paper(study, found):
            parts += ["**Against the paper**, which finds a model of the ESMC family best everywhere (Table IV):"]
            parts.append(_list(against))
        return "\n\n".join(parts)


def marks(found: Verdict) -> str:
    """World by pair, one mark a measure."""
    rows = []
    for world in found.places:
        contrasts = [[found.contrasts.get((world, measure, pair)) for measure in MEASURES] for pair in PAIRS]
        rows.append([found.label(world), *("".join(map(_mark, each)) if any(each) else MISSING for each in contrasts)])
    return table(["World", *map(_versus, PAIRS)], rows)


def counts(study: Study, found: Verdict) -> str:
    """By pair and measure: in how many worlds it is better, worse, or neither, its mean, and the paper's."""
    rows = []
    for pair in PAIRS:
        for measure, name in MEASURES.items():
            known, mean = found.known(measure, pair), found.means.get((measure, pair))
            numbers = [str(len(found.where(measure, pair, way))) if known else MISSING for way in (1, 0, -1)]
            printed = published(study, measure, pair).get(CITY)
            city = MISSING if printed is None else f"{printed:+.5f}"
            rows.append([pair_title(pair), name, *numbers, tested(mean), city])
    header = ["Difference", "Measure", "Better", "Not distinguishable", "Worse", "Mean over worlds"]
    return table([*header, f"Paper, City {CITY}"], rows)


def frame(study: Study, found: Verdict) -> pd.DataFrame:
    """Every difference, mean over worlds and trend; the paper's beside those of the default world."""
    rows = []
    for (world, measure, pair), contrast in found.contrasts.items():
        axis = found.axis(world)
        row = {"axis": axis, "world": world, "measure": measure, "kind": "difference", **contrast_row(pair, contrast)}
        row["setting"] = None if axis is None else found.lines[axis][world]
        row["published"] = published(study, measure, pair).get(CITY) if world == DEFAULT else None
        rows.append(row)
    rows += [{"measure": m, "kind": "mean", **contrast_row(pair, c)} for (m, pair), c in found.means.items()]
    rows += [
        {"axis": axis, "measure": m, "kind": "trend", **contrast_row(pair, c)}
        for (axis, m, pair), c in found.trends.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS).assign(dataset=study.dataset, preset=study.preset, city=CITY)


def _absent(name: str, found: Verdict) -> list[str]:
    total = len({world for axis in AXES.values() for world in axis.worlds})
    whole = total * len(MEASURES) * len(PAIRS)
    if len(found.contrasts) == whole:
        return []
    return [
        f"Of {whole} differences {whole - len(found.contrasts)} are not stored yet: `bench run --exhibit {name}` trains"
        " what is missing, and the answers are about the rest."
    ]


def _mark(contrast: Contrast | None) -> str:
    return MISSING if contrast is None else MARKS[effects.sign(contrast)]


def _versus(pair: tuple[str, str]) -> str:
    return f"{style.title(pair[0])} vs {style.title(pair[1])}"


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
