"""Fixtures of the tests of the queue."""

from collections.abc import AsyncIterator

import pytest
from queue_kit import World, world


@pytest.fixture
async def queue_world(migrated_database: str) -> AsyncIterator[World]:
    """A migrated database with one agent."""
    async with world(migrated_database) as made:
        yield made
