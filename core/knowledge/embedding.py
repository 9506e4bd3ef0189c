"""Vectors of texts."""

from config.paths import Paths
from core.knowledge.search import QueryEmbedder


def query_embedder(paths: Paths) -> QueryEmbedder | None:
    """What turns queries into vectors here."""
    del paths
    return None
