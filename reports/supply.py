"""What the data of a report say of themselves: their notes, and which models they leave out for want of what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.core.errors import UserError
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encoding_key
from bench.data.tables import Manifest
from bench.runner.layout import Layout
from bench.runner.supply import in_words, lacking
from reports import style
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
        if _all_clicked(study, city):
            found.setdefault(ALL_CLICKED, []).append(city)
    for note, cities in found.items():
        yield f"{_where(study, cities)}: {note}"


def left_out(study: Study) -> Iterator[str]:
    """A line per group of models that need what the data cannot supply, with the reasons.

    A model with stored cells was not left out. Labels that the training rows lack are known where the encoded arrays
    are there.
    """
    found: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for city in study.cities:
        manifest = study.manifest(city)
        if manifest is None:
            continue
        stored = {record.cell.model for record in study.of_city(city)}
        training = _training(study, manifest)
        groups: dict[str, list[str]] = {}
        for model in style.in_order(MODELS.all()):
            missing = lacking(MODELS.get(model).needs, manifest.lacks, training)
            if missing and model not in stored:
                groups.setdefault(in_words(missing), []).append(model)
        for reasons, members in groups.items():
            found.setdefault((tuple(members), reasons), []).append(city)
    for (models, reasons), cities in found.items():
        verb = "needs" if len(models) == 1 else "need"
        yield f"{_where(study, cities)}: {names((model, '') for model in models)} {verb} {reasons}"


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
