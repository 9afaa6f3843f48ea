"""Where studies lie: in an SQLite file, for one process at a time, or on a PostgreSQL server, for workers anywhere."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from bench.core.errors import UserError
from bench.core.seeding import derive
from sweeps.address import arguments, engine, parse, reason, without_password

#: When the server takes a worker for gone: its machine is silent for 30 s and 3 * 10 s more, or its turn takes 60 s.
PATIENCE = {
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60s",
}


class Storage:
    """Studies on which this process alone works; a lock of the caller's sees to that."""

    studies: RDBStorage

    #: Name of this process among those that work on the studies; None: there are no others.
    worker: str | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """A block in which no other worker looks at the studies or changes them."""
        yield

    def is_gone(self, worker: str | None) -> bool:
        """Whether the worker that has begun a trial is no more; asked in a turn."""
        return True


class File(Storage):
    """Studies in the SQLite file ``path``.

    Raises:
        UserError: the file is no Optuna storage.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.studies = RDBStorage(f"sqlite:///{path}")
        except Exception as error:
            why = str(error).partition("\n")[0]
            raise UserError(f"{path} must be an Optuna storage, but: {why}; move it away and run again.") from None


class Server(Storage):
    """Studies on a PostgreSQL server, on which any number of workers work.

    A worker keeps a line to the server: a connection on which a shared lock on the worker's name lies. The server takes
    it away when the line ends, however that comes, so that the others see who is gone. In its turn the worker also
    holds the one lock that all want. These are PostgreSQL's advisory locks; a pooler in between must keep sessions.
    """

    def __init__(self, connections: Engine) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._connections = connections
        self._line: Connection | None = None

    def connect(self) -> None:
        """Open the studies; their tables are made where there are none."""
        url = self._connections.url
        with self.turn():  # two that make the tables at once would fail
            try:
                self.studies = RDBStorage(
                    url.render_as_string(hide_password=False), {"pool_pre_ping": True, "connect_args": arguments(url)}
                )
            except RuntimeError as error:  # made by another version of Optuna
                raise UserError(f"--storage must have studies that Optuna can read: {error}") from None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        if self._line is None or not _answers(self._line):
            self._line = self._open_line()
        with self._line.begin():
            _lock(self._line, "pg_advisory_xact_lock", "turn")
            yield

    def is_gone(self, worker: str | None) -> bool:
        # A trial begins and gets its worker's name in one turn: without one, its worker died in that turn.
        return worker is None or (worker != self.worker and _lock(self._line, "pg_try_advisory_xact_lock", worker))

    def close(self) -> None:
        """Leave what this worker has begun to the others."""
        if self._line is not None:
            self._line.close()

    def _open_line(self) -> Connection:
        line = self._connections.connect()
        with line.begin():
            for name, value in PATIENCE.items():
                line.execute(text(f"SET {name} = '{value}'"))
            # Shared, since the server may not have noticed yet that the line before this one is lost.
            _lock(line, "pg_advisory_lock_shared", self.worker)
        return line


def _answers(line: Connection) -> bool:
    try:
        with line.begin():
            line.execute(text("SELECT 1"))
    except SQLAlchemyError:
        line.invalidate()
        return False
    return True


def _lock(line: Connection | None, function: str, name: str | None) -> Any:
    """Call a function for advisory locks, whose names are numbers of 64 bits."""
    assert line is not None
    return line.execute(text(f"SELECT {function}(:name)"), {"name": derive(0, "bench tune", name or "")}).scalar()


@contextlib.contextmanager
def opened(place: Path | str) -> Iterator[Storage]:
    """The studies in an SQLite file, or those at the URL of a PostgreSQL server.

    Raises:
        UserError: the file is no Optuna storage; the URL is wrong or its driver missing; the server cannot be reached
            or refuses, now or later in the block. The URL's password is in none of the messages.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if isinstance(place, Path):
        yield File(place)
        return
    url = parse(place)
    server = Server(engine(url))
    try:
        server.connect()
        yield server
    except (SQLAlchemyError, StorageInternalError) as error:
        raise UserError(
            f"{without_password(place)} must give access to its studies, but: {reason(error, url)}; "
            "mend it and run again, finished trials are kept."
        ) from None
    finally:
        with contextlib.suppress(SQLAlchemyError):
            server.close()
