"""Where things lie below the output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below ``out``; cells and failures are the store's."""

    out: Path

    @property
    def tables(self) -> Path:
        """Funnel tables, one folder per fingerprint."""
        return self.out / "data" / "tables"

    @property
    def shards(self) -> Path:
        """Shards of tables that are being made, one folder per fingerprint."""
        return self.out / "data" / "shards"

    @property
    def logs(self) -> Path:
        """Funnel tables of imported logs, one folder per name."""
        return self.out / "data" / "logs"

    @property
    def encoded(self) -> Path:
        """Encoded arrays, one folder per content hash."""
        return self.out / "data" / "encoded"

    @property
    def report(self) -> Path:
        return self.out / "report"

    @property
    def studies(self) -> Path:
        """SQLite file of the Optuna studies."""
        return self.out / "studies.db"

    @property
    def studies_lock(self) -> Path:
        """Held by the process that works on the studies."""
        return self.out / ".studies.lock"

    @property
    def planned(self) -> Path:
        """Every cell that a run was asked for."""
        return self.out / "planned.json"
