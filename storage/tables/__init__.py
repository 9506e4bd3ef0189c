"""The tables as SQLModel models: the schema for tools, and what a test holds the migrations against.

The program's own queries are SQL through asyncpg (see ``storage/queries``): importing this package costs more than
`qd task list` may take altogether.
"""

from storage.tables import budget, knowledge, learning, queue, registry, runs

__all__ = ["budget", "knowledge", "learning", "queue", "registry", "runs"]
