"""Fixtures of the engine's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.engine.engine_kit import Site, site


@pytest.fixture
async def crew(migrated_database: str) -> AsyncIterator[Site]:
    """A site with one host, its engine running, a project `app` that merges by itself, and a scripted agent."""
    async with site(migrated_database) as made:
        await made.agent()
        host = made.host()
        await made.set(engine__retry_seconds=0.05, run__interrupt_seconds=0.5, run__terminate_seconds=0.5)
        await host.start()
        yield made
