"""What the crew remembers, how it is found, and who was told of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB
from sqlmodel import Field, SQLModel

MEMORY_KIND = ENUM(
    "code",
    "documentation",
    "requirement",
    "pattern",
    "decision",
    "lesson",
    "standard",
    name="memory_kind",
    create_type=False,
)


class Corpus(SQLModel, table=True):
    """What is known of one project, or of all, and how far its repository was read."""

    __tablename__ = "corpus"

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(always=True), primary_key=True))
    project: str | None = Field(default=None, sa_column=Column(Text(collation="C"), unique=True))
    docs: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    words: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    branch: str | None = Field(default=None, sa_column=Column(Text))
    head: str | None = Field(default=None, sa_column=Column(Text))
    target: str | None = Field(default=None, sa_column=Column(Text))
    files: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    done: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    started_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    indexed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    weighed_docs: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))


class Contradiction(SQLModel, table=True):
    """Two items that say opposite things, and whether a person lets both stand."""

    __tablename__ = "contradiction"

    first: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    second: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    why: str = Field(sa_column=Column(Text, nullable=False))
    seen_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    stands_by: str | None = Field(default=None, sa_column=Column(Text))
    hashes: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))


class Decision(SQLModel, table=True):
    """A choice, why it was made, and how it turned out."""

    __tablename__ = "decision"

    memory: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    type: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'approach'::text"))
    )
    question: str = Field(sa_column=Column(Text, nullable=False))
    chosen: str = Field(sa_column=Column(Text, nullable=False))
    alternatives: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    reasoning: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text")))
    outcome: str | None = Field(default=None, sa_column=Column(Text))
    outcome_note: str | None = Field(default=None, sa_column=Column(Text))
    lesson: str | None = Field(default=None, sa_column=Column(Text))
    repeat: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("true")))
    task: int | None = Field(default=None, sa_column=Column(BigInteger))
    run: int | None = Field(default=None, sa_column=Column(BigInteger))
    pull_request: int | None = Field(default=None, sa_column=Column(Integer))
    feedback: str | None = Field(default=None, sa_column=Column(Text))
    resolved_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Embedder(SQLModel, table=True):
    """A model that turns texts into vectors."""

    __tablename__ = "embedder"

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    dims: int = Field(sa_column=Column(Integer, nullable=False))
    active: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
    wanted: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class Embedding(SQLModel, table=True):
    """The vector of an item by one model."""

    __tablename__ = "embedding"

    model: int = Field(sa_column=Column(SmallInteger, ForeignKey("embedder.id", ondelete="CASCADE"), primary_key=True))
    memory: int = Field(sa_column=Column(Integer, primary_key=True))
    corpus: int = Field(sa_column=Column(SmallInteger, nullable=False))
    kind: str = Field(sa_column=Column(MEMORY_KIND, nullable=False))
    vector: Any = Field(sa_column=Column(HALFVEC(), nullable=False))


class FrequentTerm(SQLModel, table=True):
    """A word that stands in so many items that it tells little."""

    __tablename__ = "frequent_term"

    term: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    corpus: int = Field(sa_column=Column(SmallInteger, ForeignKey("corpus.id", ondelete="CASCADE"), primary_key=True))
    docs: int = Field(sa_column=Column(Integer, nullable=False))


class IndexedFile(SQLModel, table=True):
    """A file of a repository as it was read last."""

    __tablename__ = "indexed_file"

    corpus: int = Field(sa_column=Column(SmallInteger, ForeignKey("corpus.id", ondelete="CASCADE"), primary_key=True))
    path: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    blob: str = Field(sa_column=Column(Text, nullable=False))
    items: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    skipped: str | None = Field(default=None, sa_column=Column(Text))


class Injection(SQLModel, table=True):
    """That a run was told of an item, why, and what came of it."""

    __tablename__ = "injection"

    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    memory: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    credit: str | None = Field(default=None, sa_column=Column(Text))


class Lesson(SQLModel, table=True):
    """An error, its fix, and how to avoid it."""

    __tablename__ = "lesson"
    __table_args__ = (UniqueConstraint("corpus", "signature"),)

    memory: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    corpus: int = Field(sa_column=Column(SmallInteger, ForeignKey("corpus.id", ondelete="CASCADE"), nullable=False))
    type: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'other'::text")))
    error: str = Field(sa_column=Column(Text, nullable=False))
    signature: UUID = Field(sa_column=Column(Uuid, nullable=False))
    context: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text")))
    command: str | None = Field(default=None, sa_column=Column(Text))
    fix: str | None = Field(default=None, sa_column=Column(Text))
    worked: bool | None = Field(default=None, sa_column=Column(Boolean))
    rule: str | None = Field(default=None, sa_column=Column(Text))


class Memory(SQLModel, table=True):
    """One item of what the crew remembers."""

    __tablename__ = "memory"

    number: int | None = Field(default=None, sa_column=Column(Integer, Identity(always=True), primary_key=True))
    id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, nullable=False, unique=True, server_default=sql("qd_uuid7()"))
    )
    corpus: int = Field(sa_column=Column(SmallInteger, ForeignKey("corpus.id", ondelete="CASCADE"), nullable=False))
    kind: str = Field(sa_column=Column(MEMORY_KIND, nullable=False))
    state: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'active'::text"))
    )
    title: str = Field(sa_column=Column(Text, nullable=False))
    content: str = Field(sa_column=Column(Text, nullable=False))
    origin: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'person'::text"))
    )
    source: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text")))
    path: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    first_line: int | None = Field(default=None, sa_column=Column(Integer))
    last_line: int | None = Field(default=None, sa_column=Column(Integer))
    tags: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    hash: UUID | None = Field(
        default=None,
        sa_column=Column(
            Uuid, Computed("(md5(((title || '\n'::text) || content)))::uuid", persisted=True), nullable=False
        ),
    )
    valid_from: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    invalid_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    superseded_by: int | None = Field(
        default=None, sa_column=Column(Integer, ForeignKey("memory.number", ondelete="SET NULL"))
    )
    note: str | None = Field(default=None, sa_column=Column(Text))
    cold: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
    uses: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    wins: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    last_used_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    replaces: int | None = Field(
        default=None, sa_column=Column(Integer, ForeignKey("memory.number", ondelete="SET NULL"))
    )
    doubt: str | None = Field(default=None, sa_column=Column(Text))


class Pattern(SQLModel, table=True):
    """A template that is worth using again."""

    __tablename__ = "pattern"

    memory: int = Field(sa_column=Column(Integer, ForeignKey("memory.number", ondelete="CASCADE"), primary_key=True))
    slug: str = Field(sa_column=Column(Text(collation="C"), nullable=False, unique=True))
    category: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'general'::text"))
    )
    projects: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    stacks: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    description: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text"))
    )
    template: str = Field(sa_column=Column(Text, nullable=False))
    example: str | None = Field(default=None, sa_column=Column(Text))


class Posting(SQLModel, table=True):
    """How often a word stands in an item."""

    __tablename__ = "posting"

    memory: int = Field(sa_column=Column(Integer, primary_key=True))
    kind: str = Field(sa_column=Column(MEMORY_KIND, nullable=False))
    corpus: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    tf: int = Field(sa_column=Column(SmallInteger, nullable=False))
    len: int = Field(sa_column=Column(SmallInteger, nullable=False))
    term: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))


class QueryVector(SQLModel, table=True):
    """The vector of a question that was asked before."""

    __tablename__ = "query_vector"

    model: int = Field(sa_column=Column(SmallInteger, ForeignKey("embedder.id", ondelete="CASCADE"), primary_key=True))
    hash: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    vector: Any = Field(sa_column=Column(HALFVEC(), nullable=False))
    used_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class RunContext(SQLModel, table=True):
    """What a run was told, as a whole."""

    __tablename__ = "run_context"

    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    budget: int = Field(sa_column=Column(Integer, nullable=False))
    tokens: int = Field(sa_column=Column(Integer, nullable=False))
    considered: int = Field(sa_column=Column(Integer, nullable=False))
    items: Any = Field(sa_column=Column(JSONB, nullable=False))
    warnings: Any | None = Field(
        default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'[]'::jsonb"))
    )
    left_out: Any | None = Field(
        default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'[]'::jsonb"))
    )
    at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class Sighting(SQLModel, table=True):
    """A run in which the error of a lesson was met."""

    __tablename__ = "sighting"

    lesson: int = Field(sa_column=Column(Integer, ForeignKey("lesson.memory", ondelete="CASCADE"), primary_key=True))
    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    task: int = Field(sa_column=Column(BigInteger, nullable=False))
    head: str | None = Field(default=None, sa_column=Column(Text))
    mended_head: str | None = Field(default=None, sa_column=Column(Text))
    fix: str | None = Field(default=None, sa_column=Column(Text))
    worked: bool | None = Field(default=None, sa_column=Column(Boolean))
    at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
