"""What the data of a report say of themselves: their notes, which models they leave out for want of what, and what
trains the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from bench.core.errors import UserError
from bench.core.registry import MODELS, SOURCES
from bench.data.calibration import is_calibrated
from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encoding_key
from bench.data.tables import Manifest
from bench.runner.layout import Layout
from bench.runner.supply import in_words, lacking
from reports import style
from reports.describe.sections import CALIBRATED
from reports.study import Study
from reports.wording import names

ALL_CLICKED = (
    "Every test row is clicked, so there is no CTR to compare: its AUC is not defined, and CVR and CTCVR are measured "
    "on the same rows."
)


def notes_on_data(study: Study) -> Iterator[str]:
    """The notes of the manifests, and a line on a funnel whose first step is trivial; by city where they differ."""
    found: dict[str, list[str]] = {}
    for city in study.cities:
        manifest = study.manifest(city)
        for note in manifest.notes if manifest else ():
            found.setdefault(note, []).append(city)
        if manifest and is_calibrated(manifest):
            found.setdefault(CALIBRATED, []).append(city)
        if _all_clicked(study, city):
            found.setdefault(ALL_CLICKED, []).append(city)
    for note, cities in found.items():
        yield f"{_where(study, cities)}: {note}"


def left_out(study: Study, among: Collection[str] | None = None) -> Iterator[str]:
    """A line per group of models (``among`` some; None: of all) that :func:`left_out_of` a city, with the reasons."""
    found: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for city in study.cities:
        groups: dict[str, list[str]] = {}
        for model, reasons in left_out_of(study, city).items():
            if among is None or model in among:
                groups.setdefault(reasons, []).append(model)
        for reasons, members in groups.items():
            found.setdefault((tuple(members), reasons), []).append(city)
    for (models, reasons), cities in found.items():
        verb = "needs" if len(models) == 1 else "need"
        yield f"{_where(study, cities)}: {names((model, '') for model in models)} {verb} {reasons}"


def left_out_of(study: Study, city: str) -> dict[str, str]:
    """The models that need what the data of a city cannot supply, with what that is, in the papers' order.

    A model with stored cells was not left out. Labels that the training rows lack are known where the encoded arrays
    are there.
    """
    manifest = study.manifest(city)
    if manifest is None:
        return {}
    stored = {record.cell.model for record in study.of_city(city)}
    training = _training(study, manifest)
    found = {}
    for model in style.in_order(MODELS.all()):
        missing = lacking(MODELS.get(model).needs, manifest.lacks, training)
        if missing and model not in stored:
            found[model] = in_words(missing)
    return found


def impossible(study: Study, models: Collection[str]) -> str | None:
    """Why there is nothing to show of ``models``: every city leaves out all of them; None where one can be trained."""
    if not study.cities or not all(set(models) <= left_out_of(study, city).keys() for city in study.cities):
        return None
    return f"Nothing to show. {'; '.join(left_out(study, models))}."


def is_log(study: Study) -> bool:
    """Whether its rows were logged, not simulated, as far as its funnel tables are stored."""
    return any(manifest.origin == "log" for city in study.cities if (manifest := study.manifest(city)))


def command(study: Study, exhibit: str) -> str:
    """What trains the cells that an exhibit of a study lacks: of a log, that log."""
    text = f"bench run --exhibit {exhibit}"
    if is_log(study):
        text += f" --data {study.dataset}" + (" --data-dir FOLDER" if study.dataset in SOURCES.names() else "")
    return f"`{text}`"


def _where(study: Study, cities: Sequence[str]) -> str:
    """The dataset, with the cities unless they are all it has."""
    return study.dataset if list(cities) == study.cities else f"{study.dataset} ({', '.join(cities)})"


def _training(study: Study, manifest: Manifest) -> dict[str, int] | None:
    """Positive labels of the training rows; None where the encoded arrays are not there."""
    try:
        folder = Layout(study.store.out).encoded / encoding_key(manifest, EncodingSettings())
        return EncodedCity.load(folder).meta.counts["train"]
    except UserError:
        return None


def _all_clicked(study: Study, city: str) -> bool:
    """Whether every test row is clicked, as the first cell that tells says."""
    for record in study.of_city(city):
        if metric := record.metrics.get("test", {}).get("auc/ctr/exposed"):
            return metric.n_pos == metric.n > 0
    return False
