"""Tasks and what decides when they start."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
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
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from storage.tables.states import TASK_STATUS, TASK_WAIT, TaskStatus, TaskWait


class Load(SQLModel, table=True):
    """What changes per project with each claim."""

    __tablename__ = "load"

    project: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    paused: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
    max_parallel: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("2")))
    running: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    last_claim: datetime | None = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True), nullable=False, server_default=sql("'-infinity'::timestamp with time zone")
        ),
    )


class Lane(SQLModel, table=True):
    """The ready tasks of one project that want one agent; ``head`` is a hint of the best priority among them."""

    __tablename__ = "lane"

    project: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    agent: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    head: int | None = Field(default=None, sa_column=Column(SmallInteger))


class Task(SQLModel, table=True):
    """A task as the queue sees it: narrow, rewritten with each change of state."""

    __tablename__ = "task"

    number: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    project: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    agent: str | None = Field(
        default=None, sa_column=Column(Text(collation="C"), nullable=False, server_default=sql("''::text"))
    )
    priority: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("3")))
    status: TaskStatus = Field(sa_column=Column(TASK_STATUS, nullable=False))
    wait: TaskWait | None = Field(default=None, sa_column=Column(TASK_WAIT))
    attempts: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("0")))
    failures: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("0")))
    max_attempts: int | None = Field(
        default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("3"))
    )
    rescues: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("0")))
    waiting_on: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    lease_token: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    engine: int | None = Field(default=None, sa_column=Column(BigInteger))
    not_before: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    deadline: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    cancel_requested: bool | None = Field(
        default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false"))
    )
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
    claimed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    finished_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class TaskBody(SQLModel, table=True):
    """The rest of a task: long, and untouched by changes of state."""

    __tablename__ = "task_body"

    task: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), primary_key=True))
    id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, nullable=False, unique=True, server_default=sql("qd_uuid7()"))
    )
    title: str = Field(sa_column=Column(Text, nullable=False))
    description: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("''::text"))
    )
    parent: int | None = Field(default=None, sa_column=Column(BigInteger))
    paths: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    branch: str | None = Field(default=None, sa_column=Column(Text))
    on_failure: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'fail'::text"))
    )
    max_cost_usd: Decimal | None = Field(default=None, sa_column=Column(Numeric(14, 6)))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    feedback: str | None = Field(default=None, sa_column=Column(Text))
    cron: str | None = Field(default=None, sa_column=Column(Text))
    extra: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))


class TaskAfter(SQLModel, table=True):
    """An edge of the dependencies: the child waits for the parent."""

    __tablename__ = "task_after"

    parent: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), primary_key=True))
    child: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), primary_key=True))
