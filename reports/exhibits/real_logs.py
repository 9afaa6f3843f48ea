"""Real logs: how large they are, what can be told apart on them, and where the carts of their purchases lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from bench.data.tables import Manifest
from bench.metrics.bootstrap import RESAMPLES, estimate
from bench.metrics.compare import Contrast, Estimate
from reports import effects, style
from reports.aucs import ALPHA
from reports.exhibit import Exhibit
from reports.gains import calibrated
from reports.markdown import MISSING, details, picture, table
from reports.real_logs import words
from reports.real_logs.plots import draw_aucs, draw_carts, draw_differences
from reports.real_logs.tables import Tables, read_tables
from reports.real_logs.values import Results, results
from reports.study import Study

READING = f"""\
Here are the logs of real shops, by themselves and honest about their size: what is *not distinguishable* here need not
be equal, the log may be too small to tell. AUCs are means over seeds on the test days. Their 95 % intervals are
percentiles of {RESAMPLES:,} resamples of the test users (fewer of a large log), drawn with replacement with all of
their rows; each is moved by a draw of what other seeds would give (Student's t). Differences are paired: the same
users, the same seeds. **Bold** is significant: p < {ALPHA} by Student's t, over the errors of users and seeds together,
after Holm's correction over all differences of a log; intervals are not corrected, so one may leave out 0 and not be
bold."""

CAUTION = "Intervals of two models that overlap do not mean a tie: the second picture has the paired differences."

CALIBRATION = """\
Sample Calibration gives a purchase without a cart in its visit the cart of an earlier one, in training labels only. The
sign ⁻ marks a model without it; differences are with minus without."""

#: Logs of which public samples are at hand.
LOGS = ("ga360", "cikm19_taobao")

#: How what is missing is made; a log is read from where it lies, so no exhibit can name it.
COMMAND = "`bench run --data {dataset} --data-dir FOLDER --seeds 3 --grid calibration=none,copy`"

COLUMNS = [
    "dataset", "preset", "city", "quantity", "name", "model", "variant", "against_model", "against_variant", "value",
    "lo", "hi", "p_value", "p_adjusted", "seed_sd", "n_seeds", "rows", "positives", "users", "left_out",
]  # fmt: skip


class RealLogs(Exhibit):
    name = "real_logs"
    title = "Real logs"
    needs = "stored predictions"
    order = 115
    scope = "report"

    def build(self, study: Study, folder: Path) -> str:
        logs = [(each, city, manifest) for each, city, manifest in _cities(study.report or [study])]
        lacking = sorted({*LOGS} - {each.dataset for each, _, _ in logs})
        missing = f"Nothing is stored of {', '.join(lacking)}; each is made by {COMMAND.format(dataset='NAME')}."
        if not logs:
            self.write_csv(pd.DataFrame(columns=COLUMNS), folder)
            return f"No log of a real shop is stored. {missing}"
        parts = [READING]
        frames = []
        for each, city, manifest in logs:
            found, tables = results(each, city), read_tables(each, city, manifest)
            frames.append(frame(found, tables))
            parts += self._log(found, tables, manifest, folder)
        self.write_csv(pd.concat(frames), folder)
        return "\n\n".join([*parts, *([missing] if lacking else [])])

    def _log(self, found: Results, tables: Tables | None, manifest: Manifest, folder: Path) -> Iterator[str]:
        study, city = found.study, found.city
        part = f"{city}-" if len(study.cities) > 1 else ""
        yield f"#### {study.title}, {style.city_title(city)}"
        yield _listed([*words.told(found), *words.calibration(found, manifest)])
        if listed := [*words.origin(manifest)]:
            yield f"About the log:\n\n{_listed(listed)}"
        if tables is not None:
            yield _splits(tables)
        learned = [] if tables is None else words.training(found, tables)
        if listed := [*learned, *words.sizes(found)]:
            yield f"What these rows can tell:\n\n{_listed(listed)}"
        if found.shown:
            path = self.picture_path(study, folder, f"{part}aucs")
            draw_aucs(found, path)
            yield picture(path.name, f"AUCs of the models on {study.title}, with bootstrap intervals over users")
            yield details("AUCs with their intervals", _aucs(found))
        if any(found.against_baseline(probability) for probability in found.shown):
            path = self.picture_path(study, folder, f"{part}differences")
            draw_differences(found, path)
            yield CAUTION
            yield picture(path.name, f"paired differences of AUC on {study.title}")
            yield details("Differences with their intervals", _differences(found))
        yield from _calibration(found)
        if tables is not None and tables.carts is not None:
            yield f"Carts and purchases:\n\n{_listed([*words.carts(tables)])}"
            if tables.carts.earlier and tables.carts.days:
                path = self.picture_path(study, folder, f"{part}carts")
                draw_carts(tables.carts, f"{study.dataset}: {tables.carts.purchases:,} purchases", path)
                yield picture(path.name, f"where the carts of the purchases of {study.dataset} lie")


def _cities(studies: Iterable[Study]) -> Iterator[tuple[Study, str, Manifest]]:
    for study in studies:
        for city in study.cities:
            manifest = study.manifest(city)
            if manifest is not None and manifest.origin == "log":
                yield study, city, manifest


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _splits(tables: Tables) -> str:
    names = next(iter(tables.splits.values()), {})
    rows = [[name.capitalize(), *(f"{counts[name]:,}" for counts in tables.splits.values())] for name in names]
    return table(["Labels of the exposures", *tables.splits], rows)


def _aucs(found: Results) -> str:
    rows = []
    for entry in found.entries:
        texts = [_interval(found.estimate(probability, entry)) for probability in found.shown]
        rows.append([found.title(entry), *texts, str(found.seeds(entry))])
    return table(["Model", *(f"{probability.upper()}-AUC" for probability in found.shown), "Seeds"], rows)


def _interval(found: Estimate | None) -> str:
    """``0.731 [0.702, 0.760]``."""
    if found is None or math.isnan(found.mean):
        return MISSING
    return f"{found.mean:.3f} [{found.lo:.3f}, {found.hi:.3f}]"


def _differences(found: Results) -> str:
    compared = {probability: of for probability in found.shown if (of := found.against_baseline(probability))}
    header = ["Model"]
    for probability in compared:
        baseline = found.baseline(probability)
        header.append(f"{probability.upper()}-AUC" + (f" minus {style.title(*baseline)}" if baseline else ""))
    rows = [
        [found.title(entry), *(_effect(of.get(entry)) for of in compared.values())]
        for entry in found.entries
        if any(entry in of for of in compared.values())
    ]
    return table(header, rows)


def _effect(found: Contrast | None) -> str:
    text = effects.effect(found, 3)
    return text if found is None or text == MISSING else f"{text}, {effects.p_text(found.p_adjusted)}"


def _calibration(found: Results) -> Iterator[str]:
    """With against without Sample Calibration, and the labels that it changed."""
    pairs, labels = found.calibrated, calibrated.labels(found.study, found.city)
    if not pairs or not found.shown or (labels is not None and not labels.matched):
        return
    yield CALIBRATION
    rows = []
    for first, second in pairs:
        compared = {pair.probability: c for pair, c in found.contrasts.items() if pair[1:] == (first, second)}
        texts = [_effect(compared.get(probability)) for probability in found.shown]
        rows.append([f"{found.title(first)} − {found.title(second)}", *texts])
    yield table(["Difference", *(f"{probability.upper()}-AUC" for probability in found.shown)], rows)
    if labels is not None:
        share = f" ({labels.matched / labels.bad_cases:.1%})"
        yield (
            f"On the training days {labels.bad_cases:,} purchases of exposures have no cart in their visit; Sample"
            f" Calibration finds one for {labels.matched:,}{share}."
        )


def frame(found: Results, tables: Tables | None) -> pd.DataFrame:
    """Every figure, COLUMNS: ``quantity`` is count, auc, difference or carts; ``name`` says of what."""
    rows = [*_auc_rows(found), *_difference_rows(found), *([] if tables is None else _table_rows(tables))]
    common = {"dataset": found.study.dataset, "preset": found.study.preset, "city": found.city}
    return pd.DataFrame([common | row for row in rows]).reindex(columns=COLUMNS)


def _size(found: Results, probability: str) -> dict[str, object]:
    space = found.spaces[probability]
    return {"name": probability, "rows": space.rows, "positives": space.positives, "users": space.users}


def _auc_rows(found: Results) -> Iterator[dict[str, object]]:
    for probability in found.shown:
        for (model, variant), one in found.found[probability].items():
            e = estimate(one)
            yield _size(found, probability) | {
                "quantity": "auc",
                "model": model,
                "variant": variant,
                "value": e.mean,
                "lo": e.lo,
                "hi": e.hi,
                "seed_sd": float(one.areas.std(ddof=1)) if one.areas.size > 1 else math.nan,
                "n_seeds": e.n_seeds,
                "left_out": one.left_out,
            }


def _difference_rows(found: Results) -> Iterator[dict[str, object]]:
    for pair, c in found.contrasts.items():
        yield _size(found, pair.probability) | {
            "quantity": "difference",
            "model": pair.first[0],
            "variant": pair.first[1],
            "against_model": pair.second[0],
            "against_variant": pair.second[1],
            "value": c.difference,
            "lo": c.lo,
            "hi": c.hi,
            "p_value": c.p_value,
            "p_adjusted": c.p_adjusted,
            "n_seeds": c.n_seeds,
        }


def _table_rows(tables: Tables) -> Iterator[dict[str, object]]:
    for split, counts in tables.splits.items():
        for name, n in counts.items():
            yield {"quantity": "count", "name": f"{split}: {name}", "value": n}
    if (carts := tables.carts) is not None:
        values: dict[str, int | None] = {
            "purchases": carts.purchases,
            "same visit": carts.same_visit,
            "earlier visit only": carts.earlier,
        }
        values |= {"earlier day": carts.earlier_day}
        values |= {f"days since: {days}": n for days, n in (carts.days or {}).items()}
        for name, found in values.items():
            yield {"quantity": "carts", "name": name, "value": found}
