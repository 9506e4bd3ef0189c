"""Fixtures of the tests of the crew's tools."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.knowledge.knowledge_kit import Quay, quay_on
from tests.mcp.mcp_kit import Crew, crew_on


@pytest.fixture
async def quay(migrated_database: str, tmp_path: Path) -> AsyncIterator[Quay]:
    """An empty database, and a folder for repositories."""
    async with quay_on(migrated_database, tmp_path) as made:
        yield made


@pytest.fixture
async def crew(quay: Quay) -> AsyncIterator[Crew]:
    """Two projects with a live run each, and an open door."""
    async with crew_on(quay) as made:
        yield made
