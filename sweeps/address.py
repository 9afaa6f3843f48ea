"""The URL of a PostgreSQL server that keeps studies: read, connected to, and shown without its password."""

from __future__ import annotations

import re

import sqlalchemy
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from bench.core.errors import UserError

#: What a URL may begin with; SQLAlchemy's name of it is the last.
SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")

#: Seconds that the server may take to answer.
TIMEOUT = 10


def parse(url: str) -> URL:
    """The URL as SQLAlchemy takes it.

    Raises:
        UserError: it is none of a PostgreSQL server. The message repeats nothing in which a password can be.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SCHEMES:
        named = f"{scheme}://" if found and re.fullmatch(r"[a-z0-9+]+", scheme) else "no such URL"
        raise UserError(f"--storage must be like postgresql://user@host/database, but got {named}.")
    try:
        parsed = sqlalchemy.make_url(url).set(drivername=SCHEMES[-1])
    except (ArgumentError, ValueError):
        raise UserError(
            "--storage must be like postgresql://user@host:5432/database, but it cannot be read so; "
            "write special characters of a password as %40 (@), %2F (/) and so on."
        ) from None
    if "@" in (parsed.host or ""):
        raise UserError("--storage must have one @, before the host, but has more; write %40 for @ in a password.")
    if "password" in parsed.query:
        raise UserError("--storage must have its password behind the user's name, but got it as ?password=.")
    if not parsed.database:
        raise UserError("--storage must name a database, but ends before it; write postgresql://user@host/database.")
    return parsed


def arguments(url: URL) -> dict[str, int]:
    """What a connection needs beside the URL."""
    return {} if "connect_timeout" in url.query else {"connect_timeout": TIMEOUT}


def engine(url: URL) -> Engine:
    """Connections to the server, each opened when it is asked for.

    Raises:
        UserError: the driver is missing.
    """
    try:
        return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=arguments(url))
    except ImportError:
        raise UserError(
            "--storage needs the driver psycopg, but it cannot be imported; pip install 'psycopg[binary]'."
        ) from None


def without_password(url: str) -> str:
    """The URL as it may be printed.

    Raises:
        UserError: it is none of a PostgreSQL server.
    """
    return parse(url).set(drivername=SCHEMES[1]).render_as_string(hide_password=True)


def reason(error: BaseException, url: URL) -> str:
    """First line of what the server or its driver said."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = str(error).strip().partition("\n")[0].rstrip(".")
    return line.replace(str(url.password), "***") if url.password else line
