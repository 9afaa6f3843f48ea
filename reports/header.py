"""The top of a report: what was run, on what data, what is missing or failed, and on which machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from bench.core.record import Record
from bench.results.store import Contents
from reports import style
from reports.markdown import table
from reports.published import is_published
from reports.study import Study
from reports.supply import left_out, notes_on_data

SIMULATED = """\
{dataset} is **simulated**{scale}: {origin}. The published values beside ours were measured on other data: compare
orders and differences, not digits."""

#: By dataset, what its rates are set from.
ORIGINS = {
    "six_cities": "the Ele.me logs of the ESMC paper were not published; the rates are set from its Table III",
    "ecommerce": "the logs of the ESM² paper were not published; the rates are set from its Table 1 and section 3.1",
}

LOG = """\
{dataset} is a **real log**, as far as it is at hand: a public sample is a sample, and its rates are not those of the
shop it comes from."""

#: How cells were computed, by the note of a record that tells it.
MANNERS = {
    "precision": "towers computed in",
    "cuda_graph": "CUDA graph of the step",
    "embedding_update": "embedding rows updated by",
}

#: Reasons of failures that are printed at most.
MOST = 20


def header(whole: Sequence[Study], studies: Sequence[Study], contents: Contents) -> str:
    """The Markdown above the studies: all ``studies``, of which ``whole`` have a section of their own.

    Build it last: exhibits add notes to their studies.
    """
    records = [record for study in studies for record in study.records]
    parts = ["# ESM benchmark: report", _counts(studies, contents), _runs(whole)]
    if beside := [study for study in studies if study not in whole]:
        listed = ", ".join(f"{study.dataset} ({len(study.records)} cells)" for study in beside)
        parts.append(
            f"{len(beside)} more worlds stand beside these, in the exhibits that vary the simulation: {listed}."
            " `bench report` with `--data` shows one of them whole."
        )
    parts += dict.fromkeys(text for study in whole for text in _origin(study))
    parts += _list("What the data say of themselves", _once(whole, notes_on_data))
    parts += _list("Left out, since the data cannot supply it", _once(whole, left_out))
    parts += _failures(studies, contents)
    parts += _list("Notes", [f"{study.title}: {note}" for study in studies for note in study.notes])
    parts += _list("Damaged, left out", contents.damaged)
    parts += _machine(records)
    return "\n\n".join(parts)


def _once(studies: Sequence[Study], lines: Callable[[Study], Iterable[str]]) -> list[str]:
    """The lines of all studies; those of a dataset under several presets once."""
    return list(dict.fromkeys(line for study in studies for line in lines(study)))


def _counts(studies: Sequence[Study], contents: Contents) -> str:
    stored = sum(len(study.records) for study in studies)
    failed = sum(study.failed for study in studies)
    missing = sum(study.missing for study in studies)
    trials = sum(not record.cell.test for record in contents.records)
    text = (
        f"Made on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {stored} stored cells; {failed} failed, {missing} missing"
    )
    text += f", {len(contents.damaged)} damaged" if contents.damaged else ""
    text += f"; {trials} tuning trials are not part of it" if trials else ""
    return text + ("." if stored and not (failed or missing) else '. What is not there is printed as "-".')


def _runs(studies: Sequence[Study]) -> str:
    rows = [
        [
            study.dataset,
            study.preset,
            ", ".join(study.cities),
            ", ".join(map(style.title, study.models)) or "-",
            ", ".join(map(str, study.seeds)) or "-",
            str(len(study.records)),
            str(study.failed),
            str(study.missing),
        ]
        for study in studies
    ]
    return table(["Dataset", "Preset", "Cities", "Models", "Seeds", "Stored", "Failed", "Missing"], rows)


def _origin(study: Study) -> Iterable[str]:
    manifests = [manifest for city in study.cities if (manifest := study.manifest(city)) is not None]
    if any(manifest.origin == "simulated" for manifest in manifests) or is_published(study.dataset):
        scales = sorted({f"{m.settings['scale']:.4g}" for m in manifests if "scale" in m.settings})
        scale = f" at scale {', '.join(scales)}" if scales else ""
        origin = ORIGINS.get(study.dataset.partition("-")[0], "its rates are those of its settings")
        yield SIMULATED.format(dataset=study.dataset, scale=scale, origin=origin)
    elif manifests:
        yield LOG.format(dataset=study.dataset)
    positives = {
        (record.cell.city, name.split("/")[1]): metric.n_pos
        for record in study.records
        for name, metric in record.metrics.get("test", {}).items()
        if name in ("auc/ctr/exposed", "auc/ctcvr/exposed")
    }
    if positives:
        cities = [
            f"{style.city_title(city)} {positives.get((city, 'ctr'), 0):,} / {positives.get((city, 'ctcvr'), 0):,}"
            for city in study.cities
            if (city, "ctr") in positives or (city, "ctcvr") in positives
        ]
        yield f"Clicks / purchases on the test days of {study.dataset}: {'; '.join(cities)}."


def _failures(studies: Sequence[Study], contents: Contents) -> list[str]:
    shown = {study.dataset for study in studies}
    failures = [f for f in contents.failures if f.cell.test and f.cell.dataset in shown]
    lines = [f"{failure.cell.title}: {failure.reason}" for failure in failures[:MOST]]
    if len(failures) > MOST:
        lines.append(f"and {len(failures) - MOST} more, see `bench status`")
    return _list("Failed cells", lines)


def _machine(records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    found: dict[str, Counter[str]] = {}
    for record in records:
        made = {**record.versions, "device": record.cost.device}
        made |= {title: str(record.notes[note]) for note, title in MANNERS.items() if note in record.notes}
        for name, value in made.items():
            found.setdefault(name, Counter())[value] += 1
    lines = []
    for name, values in sorted(found.items()):
        texts = [f"{value} ({n} cells)" if len(values) > 1 else value for value, n in values.most_common()]
        lines.append(f"{name}: {', '.join(texts)}")
    created = sorted(record.created for record in records)
    return _list("Versions and machine", [f"cells made: {created[0]} to {created[-1]}", *lines])


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"**{title}**\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in lines)] if lines else []
