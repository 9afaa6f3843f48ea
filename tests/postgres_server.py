"""A PostgreSQL server for a test, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Who runs the server where the tests run as root, which PostgreSQL refuses.
NOBODY = 65534


def programs(folder: Path) -> Path:
    """Folder of ``initdb`` and ``pg_ctl``: the system's, or those of the package ``pgserver``, copied to ``folder``."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("initdb") or (installed[-1] if installed else None)
    if found is not None:
        return Path(found).resolve().parent
    bundled = pytest.importorskip("pgserver", reason="no PostgreSQL server: neither the system's nor pgserver's")
    package = Path(bundled.__file__).parent
    for name in ("pgserver", "pgserver.libs"):  # to where any account may read
        shutil.copytree(package.with_name(name), folder / name)
    return folder / "pgserver" / "pginstall" / "bin"


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """URL of an empty database, whose user has a password that the server doesn't ask for."""
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL")
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        folder = Path(name)
        account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        binaries = programs(folder)
        if account:
            folder.chmod(0o755)
            (folder / "server").mkdir()
            os.chown(folder / "server", NOBODY, NOBODY)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), "--pgdata", str(folder / "server" / "data"), *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, **account)

        run("initdb", "--username=tester", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "start", "--wait", "--log", str(folder / "server" / "log"), "--options", options)
        try:
            yield f"postgresql://tester:hush%40hush@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "--mode=immediate")
