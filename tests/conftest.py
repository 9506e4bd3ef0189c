"""Fixtures that every room's tests may use."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from config.paths import Paths
from tests.postgres import apart, database, embedded_server, migrated_template, temporary_home


@pytest.fixture(scope="session")
def server() -> Iterator[Paths]:
    """The embedded server of this test process: the paths to reach it by. Do not stop it."""
    with embedded_server() as paths:
        yield paths


@pytest.fixture(scope="session")
def _template(server: Paths) -> str:
    return apart(migrated_template(server))


@pytest.fixture
async def fresh_database(server: Paths) -> AsyncIterator[str]:
    """The dsn of a new, empty database, dropped afterwards."""
    async with database(server) as dsn:
        yield dsn


@pytest.fixture
async def migrated_database(server: Paths, _template: str) -> AsyncIterator[str]:
    """The dsn of a new database with our schema, dropped afterwards."""
    async with database(server, _template) as dsn:
        yield dsn


@pytest.fixture
def home() -> Iterator[Path]:
    """A ``QD_HOME`` of this test alone, with a short path; whatever server it gets is removed afterwards."""
    with temporary_home() as folder:
        yield folder
