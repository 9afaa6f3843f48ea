"""Calibration of the probabilities: ECE, PCOC and log loss of CTR, CTCVR and CVR by model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.results.queries import metrics_frame
from reports import style
from reports.aucs import AUCS, metric_name
from reports.exhibit import Exhibit
from reports.markdown import MISSING, table
from reports.measures import MIN_CLASS
from reports.study import Study

READING = f"""\
Means over cities and seeds of the test metrics. PCOC is the sum of predictions over the sum of labels: 1 is right,
above 1 predicts too many. ECE is the mean gap between prediction and share of positives over bins of equal size: 0 is
right, and an ECE must be read against the base rate. Log loss is in nats per row. AUC sees none of this. Cells with
fewer than {MIN_CLASS} positives are left out."""

METRICS = {"pcoc": "PCOC", "ece": "ECE", "log_loss": "Log loss"}
GROUP = ["dataset", "preset", "model", "metric", "probability", "space"]


class Calibration(Exhibit):
    name = "calibration"
    title = "Calibration"
    needs = "records"
    order = 70

    def build(self, study: Study, folder: Path) -> str:
        frame = metrics_frame(record for record in study.records if record.key in study.main)
        enough = frame.value.notna() & (frame.n_pos >= MIN_CLASS)
        frame = frame[(frame.split == "test") & frame.metric.isin(METRICS) & enough]
        frame = frame.groupby(GROUP).value.agg(mean="mean", lowest="min", highest="max", n_cells="count").reset_index()
        self.write_csv(frame, folder)
        parts = [READING]
        for probability, paper_name in AUCS.items():
            space = metric_name(probability).rsplit("/", 1)[1]
            found = frame[(frame.probability == probability) & (frame.space == space)]
            means = found.set_index(["model", "metric"])["mean"].to_dict()
            if not means:
                continue
            rows = [
                [style.title(model), *(_number(means.get((model, metric))) for metric in METRICS)]
                for model in style.in_order(found.model)
            ]
            parts += [f"#### {paper_name.removesuffix('-AUC')} ({space})", table(["Model", *METRICS.values()], rows)]
        return "\n\n".join([*parts, *siamese(frame)])


def siamese(frame: pd.DataFrame) -> list[str]:
    """What ESMS pays for CAR = CVR, read from the CVR figures over clicked rows; empty without both sides."""
    chosen = frame[(frame.probability == "cvr") & (frame.space == "clicked") & (frame.metric == "ece")]
    ece = {str(model): float(mean) for model, mean in zip(chosen.model, chosen["mean"], strict=True)}
    if "esms" not in ece or len(ece) < 2:
        return []
    ours = ece.pop("esms")
    worst = max(ece, key=lambda model: ece[model])
    text = "ESMS has one tower for carts and purchases, so its CAR equals its CVR. "
    if ours > ece[worst]:
        factor = f", {ours / ece[worst]:.1f} times the next worst ({style.title(worst)})" if ece[worst] else ""
        text += f"Here that costs it calibration: its CVR has the largest ECE of all models, {ours:.4f}{factor}."
    else:
        text += (
            f"Here no loss of calibration shows: the ECE of its CVR is {ours:.4f}, that of {style.title(worst)} is "
            f"{ece[worst]:.4f}."
        )
    return [text]


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"
