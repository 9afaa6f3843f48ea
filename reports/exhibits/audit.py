"""The papers' own arithmetic: every printed figure that can be recomputed from other printed figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from reports.audit.cases import case_checks
from reports.audit.checks import Check, Range, Verdict
from reports.audit.esm2 import esm2_checks
from reports.audit.esmc import offline_checks
from reports.exhibit import Exhibit
from reports.markdown import table
from reports.published import load_printed
from reports.study import Study

READING = """\
Both papers print figures that follow from others they print: improvements, averages, F1 scores, statements of the text.
Here each is recomputed, from printed figures only; nothing of ours is in it. A printed figure stands for all values
that round to it. It *follows* if the figures as printed give it; *within rounding* if they do only with digits
that are not printed; it is *cut* if cutting the result gives it and rounding does not; and it *does not follow* if no
values that the figures can stand for give it. ESMM² is what the ESMC paper calls our ESM² chain."""

HEADINGS = {
    Verdict.FOLLOWS: "Follow",
    Verdict.WITHIN: "Within rounding",
    Verdict.CUT: "Cut",
    Verdict.NOT: "Do not follow",
}


class Audit(Exhibit):
    name = "audit"
    title = "Audit: the papers' own arithmetic"
    needs = "nothing"
    order = 130
    scope = "report"

    def build(self, study: Study, folder: Path) -> str:
        checks = all_checks()
        self.write_csv(frame(checks), folder)
        total = sum(len(check.entries) for check in checks)
        wrong = sum(check.count(Verdict.NOT) for check in checks)
        rows = [
            [
                f"{check.paper} {check.table}: {check.what}",
                str(len(check.entries)),
                *(str(check.count(verdict) or "") for verdict in HEADINGS),
            ]
            for check in checks
        ]
        sums = [str(sum(check.count(verdict) for check in checks)) for verdict in HEADINGS]
        parts = [
            READING,
            table(["What", "Checked", *HEADINGS.values()], [*rows, ["All", str(total), *sums]]),
            f"**What does not follow**: {wrong} of {total} entries. All entries are in `{self.name}.csv`.",
        ]
        for check in checks:
            parts += _failures(check)
        return "\n\n".join(parts)


def all_checks() -> list[Check]:
    paper = load_printed()
    return [*offline_checks(paper), *case_checks(paper), *esm2_checks(paper)]


def frame(checks: Sequence[Check]) -> pd.DataFrame:
    """One row per entry; the numbers are NaN for statements."""
    rows = [
        {
            "paper": check.paper,
            "table": check.table,
            "check": check.what,
            "where": entry.where,
            "printed": entry.printed,
            "recomputed": entry.recomputed,
            "verdict": str(entry.verdict),
            "remark": entry.remark,
            **_numbers(entry.found),
        }
        for check in checks
        for entry in check.entries
    ]
    return pd.DataFrame(rows)


def _numbers(found: Range | None) -> dict[str, float]:
    values = [math.nan] * 3 if found is None else [float(value) for value in found]
    return dict(zip(("value", "low", "high"), values, strict=True))


def _failures(check: Check) -> list[str]:
    wrong = [entry for entry in check.entries if entry.verdict is Verdict.NOT]
    if not wrong:
        return []
    remarks = any(entry.remark for entry in wrong)
    rows = [[entry.where, entry.printed, entry.recomputed, *([entry.remark] if remarks else [])] for entry in wrong]
    heading = f"#### {check.paper} {check.table}: {check.what}"
    words = table(["Where", "Printed", "Recomputed", *(["Remark"] if remarks else [])], rows).replace("---:", "---")
    return [heading, check.why, words]
