"""Runs, what they say, what they are asked and told, and the judgement on them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.tables.states import RUN_STATUS, RunStatus


class Run(SQLModel, table=True):
    """One attempt at a task by one agent."""

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("task", "attempt"),)

    number: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    id: UUID = Field(sa_column=Column(Uuid, nullable=False, unique=True))
    task: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), nullable=False))
    attempt: int = Field(sa_column=Column(SmallInteger, nullable=False))
    project: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    agent: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    engine: int = Field(sa_column=Column(BigInteger, nullable=False))
    lease_token: int = Field(sa_column=Column(BigInteger, nullable=False))
    status: RunStatus | None = Field(
        default=None, sa_column=Column(RUN_STATUS, nullable=False, server_default=sql("'starting'::run_status"))
    )
    mark: str = Field(sa_column=Column(Text, nullable=False))
    folder: str = Field(sa_column=Column(Text, nullable=False))
    branch: str | None = Field(default=None, sa_column=Column(Text))
    worktree: str | None = Field(default=None, sa_column=Column(Text))
    base_commit: str | None = Field(default=None, sa_column=Column(Text))
    head_commit: str | None = Field(default=None, sa_column=Column(Text))
    pid: int | None = Field(default=None, sa_column=Column(Integer))
    session: str | None = Field(default=None, sa_column=Column(Text))
    started_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    finished_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    exit_code: int | None = Field(default=None, sa_column=Column(Integer))
    verdict: str | None = Field(default=None, sa_column=Column(Text))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    cost_usd: Decimal | None = Field(
        default=None, sa_column=Column(Numeric(14, 6), nullable=False, server_default=sql("0"))
    )
    cost_basis: str | None = Field(default=None, sa_column=Column(Text))
    tokens_input: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_output: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_cache_read: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_cache_write: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    files_changed: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    insertions: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    deletions: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    events: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    shipped_out: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    shipped_err: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    inputs: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    adoptions: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("0")))


class Event(SQLModel, table=True):
    """One line of what happened in a run; partitioned by month."""

    __tablename__ = "event"
    __mapper_args__: ClassVar[dict[str, Any]] = {"primary_key": ["run", "seq"]}

    run: int = Field(sa_column=Column(BigInteger, primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True))
    at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    text: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text")))
    data: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))


class RunInput(SQLModel, table=True):
    """Something that a run is told, numbered so that it is delivered once."""

    __tablename__ = "run_input"

    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    data: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    delivered_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Question(SQLModel, table=True):
    """Something that a run needs a person to answer or to allow."""

    __tablename__ = "question"
    __table_args__ = (UniqueConstraint("run", "ref"),)

    number: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, nullable=False, unique=True, server_default=sql("qd_uuid7()"))
    )
    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), nullable=False))
    task: int = Field(sa_column=Column(BigInteger, nullable=False))
    project: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    ref: str = Field(sa_column=Column(Text, nullable=False))
    kind: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'question'::text"))
    )
    text: str = Field(sa_column=Column(Text, nullable=False))
    options: Any | None = Field(
        default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'[]'::jsonb"))
    )
    data: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    status: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'open'::text")))
    answer: str | None = Field(default=None, sa_column=Column(Text))
    decision: str | None = Field(default=None, sa_column=Column(Text))
    answered_by: str | None = Field(default=None, sa_column=Column(Text))
    asked_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    answered_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Gate(SQLModel, table=True):
    """How one of the project's checks ended."""

    __tablename__ = "gate"

    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    round: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    position: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    command: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    exit_code: int | None = Field(default=None, sa_column=Column(Integer))
    seconds: float = Field(sa_column=Column(REAL, nullable=False))
    output: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text")))
    at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    learned: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))


class Review(SQLModel, table=True):
    """The judgement on a run's change."""

    __tablename__ = "review"

    number: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    task: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), nullable=False))
    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), nullable=False))
    status: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'open'::text")))
    note: str | None = Field(default=None, sa_column=Column(Text))
    actor: str | None = Field(default=None, sa_column=Column(Text))
    merge_commit: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    decided_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    merged_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    engine_note: bool | None = Field(
        default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false"))
    )
    learned: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
