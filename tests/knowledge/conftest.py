"""Fixtures of the tests of knowledge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.knowledge.knowledge_kit import Quay, quay_on


@pytest.fixture
async def quay(migrated_database: str, tmp_path: Path) -> AsyncIterator[Quay]:
    """An empty database, and a folder for repositories."""
    async with quay_on(migrated_database, tmp_path) as made:
        yield made
