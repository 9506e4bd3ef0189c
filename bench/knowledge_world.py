"""Knowledge to measure: repositories and items of the code that every Python brings along, its standard library."""

import random
import re
import subprocess
import sysconfig
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import asyncpg

from core.knowledge.chunks import Chunk, chunk_file
from storage.database import Principal, Role
from storage.queries import knowledge as items
from storage.queries import knowledge_search as searches

WHO = Principal("user:bench", Role.SUPERVISOR)
DIMS = 384
PROJECTS = 20
ITEMS = 100_000

_WORD = re.compile(r"[a-z]+|[A-Z][a-z]*")
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "lib2to3", "idlelib"}


@cache
def library() -> tuple[tuple[str, bytes], ...]:
    """(path, contents) of the standard library's own files."""
    root = Path(sysconfig.get_path("stdlib"))
    files = []
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if not _LEFT_OUT & set(name.parts) and 0 < file.stat().st_size < 400_000:
            files.append((name.as_posix(), file.read_bytes()))
    return tuple(files)


def make_repository(path: Path, files: Iterator[tuple[str, bytes]] | Sequence[tuple[str, bytes]]) -> int:
    """A repository with one commit of these files; how many."""
    count = 0
    for name, data in files:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        count += 1
    git(path, "init", "-q", "-b", "main")
    commit(path)
    return count


def commit(path: Path) -> None:
    """Commit everything."""
    git(path, "add", "-A")
    git(path, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-q", "-m", "work")


def git(path: Path, *arguments: str) -> bytes:
    """Run git."""
    return subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True).stdout


async def add_project(owner: asyncpg.Connection, name: str, path: Path | str = "/nowhere") -> None:
    """A project whose repository is at ``path``."""
    await owner.execute("insert into project (id, name, repo, path) values ($1, $1, $2, $2)", name, str(path))
    await owner.execute("insert into load (project) values ($1)", name)


async def fill(owner: asyncpg.Connection) -> None:
    """Twenty projects with :data:`ITEMS` items together, each a sample of the library's, and a vector for each."""
    chunks = [(path, chunk) for path, data in library() for chunk in chunk_file(path, data.decode("utf-8", "replace"))]
    vectors = [literal(vector_of(chunk.text)) for _, chunk in chunks]
    model = await searches.ensure_embedder(owner, "bench:words", DIMS)
    for number in range(PROJECTS):
        await add_project(owner, f"p{number}")
        corpus = await items.corpus_of(owner, f"p{number}")
        sample = random.Random(number).sample(range(len(chunks)), ITEMS // PROJECTS)
        await _fill_one(owner, corpus, model.id, [(*chunks[at], vectors[at]) for at in sample])
        await owner.execute("select knowledge_weigh($1::smallint)", corpus)
    await owner.execute("update embedder set active = true")
    await owner.execute("vacuum analyze memory, posting, embedding")


async def _fill_one(
    owner: asyncpg.Connection, corpus: int, model: int, chosen: Sequence[tuple[str, Chunk, str]]
) -> None:
    async with owner.transaction():
        numbers = await owner.fetch(
            """insert into memory (corpus, kind, title, content, origin, source, path, first_line, last_line)
               select $1, 'code', title, content, 'file', path, path, first, last
                 from unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[]) u (title, content, path, first, last) returning number""",
            corpus,
            *map(
                list, zip(*((c.title, c.text, path, c.first_line, c.last_line) for path, c, _ in chosen), strict=True)
            ),
        )
        await owner.execute(
            """insert into embedding (model, memory, corpus, kind, vector)
               select $1, u.number, $2, 'code', u.vector::halfvec from unnest($3::int[], $4::text[]) u (number, vector)""",
            model,
            corpus,
            [row["number"] for row in numbers],
            [vector for _, _, vector in chosen],
        )


def questions(count: int) -> list[str]:
    """What people would ask: first sentences of docstrings, in an order that is always the same."""
    found = []
    for _, data in library():
        text = data.decode("utf-8", "replace")
        found += [" ".join(match[1].split()) for match in re.finditer(r'"""([A-Z][^".]{30,120})[."]', text)]
    random.Random(1).shuffle(found)
    return found[:count]


def vector_of(text: str) -> list[float]:
    """A vector by the words of a text: each word has a direction of its own, so texts that share words are near."""
    import numpy as np

    words = [word.lower() for word in _WORD.findall(text)[:300]]
    total = np.zeros(DIMS, dtype=np.float32)
    for word in words:
        total += _direction(word)
    return [float(value) for value in total / max(float(np.linalg.norm(total)), 1e-9)]


@cache
def _direction(word: str) -> "object":
    import numpy as np

    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(DIMS).astype(np.float32)


def literal(vector: Sequence[float]) -> str:
    """A vector as the database reads it."""
    return "[" + ",".join(f"{value:.4g}" for value in vector) + "]"
