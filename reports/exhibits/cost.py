"""What the models cost: parameters, throughput, time and memory."""

from __future__ import annotations

from pathlib import Path

from bench.results.queries import cost_frame
from reports import style
from reports.exhibit import Exhibit
from reports.markdown import MISSING, table
from reports.study import Study

READING = """\
Medians over the stored cells of a model; *parameters* differ between cities because their vocabularies do. Throughput
counts rows; *wall time* is of a whole cell, with evaluation; *peak memory* is the process's largest resident set.
Cells that ran side by side shared the machine."""

COLUMNS = {
    "parameters": "Parameters",
    "train_rows_per_second": "Training samples/s",
    "predict_rows_per_second": "Predicted samples/s",
    "wall_seconds": "Wall time, s",
    "peak_memory_mb": "Peak memory, MB",
}
GROUP = ["dataset", "preset", "model", "variant"]


class Cost(Exhibit):
    name = "cost"
    title = "Cost"
    needs = "records"
    order = 80

    def build(self, study: Study, folder: Path) -> str:
        if not study.records:
            return "Nothing is stored yet."
        frame = cost_frame(study.records)
        median = frame.groupby(GROUP)[list(COLUMNS)].median()
        median["cells"] = frame.groupby(GROUP).size()
        median["total_wall_seconds"] = frame.groupby(GROUP).wall_seconds.sum()
        median = median.reset_index()
        self.write_csv(median, folder)
        places = style.in_order(median.model)
        median = median.sort_values(["model", "variant"], key=lambda c: c.map(places.index) if c.name == "model" else c)
        rows = [
            [
                style.title(row["model"], row["variant"]),
                f"{row['cells']}",
                *(f"{row[name]:,.0f}" if row[name] else MISSING for name in COLUMNS),
            ]
            for row in median.to_dict("records")
        ]
        total = frame.wall_seconds.sum()
        devices = ", ".join(sorted(set(frame.device)))
        return "\n\n".join(
            [
                READING,
                table(["Model", "Cells", *COLUMNS.values()], rows),
                f"All {len(frame)} cells together: {total / 60:,.1f} min of wall time on {devices}; the largest"
                f" peak memory is {frame.peak_memory_mb.max():,.0f} MB.",
            ]
        )
