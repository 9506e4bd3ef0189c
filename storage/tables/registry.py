"""Who works on what, where, and who changed it."""

from datetime import datetime
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
    SmallInteger,
    Text,
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class Audit(SQLModel, table=True):
    """One change of a table of state: who, what, when, before and after. Written by triggers alone."""

    __tablename__ = "audit"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )
    actor: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    before: Any | None = Field(default=None, sa_column=Column(JSONB))
    after: Any | None = Field(default=None, sa_column=Column(JSONB))


class Setting(SQLModel, table=True):
    """A setting that was changed live."""

    __tablename__ = "setting"

    key: str = Field(sa_column=Column(Text, primary_key=True))
    value: Any = Field(sa_column=Column(JSONB, nullable=False))
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )


class Project(SQLModel, table=True):
    """A git repository under supervision."""

    __tablename__ = "project"

    id: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    repo: str = Field(sa_column=Column(Text, nullable=False))
    path: str = Field(sa_column=Column(Text, nullable=False))
    stack: str | None = Field(default=None, sa_column=Column(Text))
    priority: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("3")))
    base: str | None = Field(default=None, sa_column=Column(Text))
    verify: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    auto_merge: bool | None = Field(
        default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false"))
    )
    merge_method: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'merge'::text"))
    )
    agent: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    primary_colour: str | None = Field(default=None, sa_column=Column(Text))
    accent_colour: str | None = Field(default=None, sa_column=Column(Text))
    extra: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )


class Agent(SQLModel, table=True):
    """Who can work."""

    __tablename__ = "agent"

    name: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, nullable=False, unique=True, server_default=sql("qd_uuid7()"))
    )
    adapter: str = Field(sa_column=Column(Text, nullable=False))
    model: str | None = Field(default=None, sa_column=Column(Text))
    command: str | None = Field(default=None, sa_column=Column(Text))
    role: str | None = Field(default=None, sa_column=Column(Text))
    capabilities: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    enabled: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("true")))
    max_parallel: int | None = Field(default=None, sa_column=Column(Integer))
    env: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    api_key_hash: str | None = Field(default=None, sa_column=Column(Text))
    last_seen: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )


class AgentSlot(SQLModel, table=True):
    """One thing that an agent with a limit may do at once."""

    __tablename__ = "agent_slot"

    agent: str = Field(
        sa_column=Column(Text(collation="C"), ForeignKey("agent.name", ondelete="CASCADE"), primary_key=True)
    )
    slot: int = Field(sa_column=Column(Integer, primary_key=True))
    task: int | None = Field(default=None, sa_column=Column(BigInteger))


class Permission(SQLModel, table=True):
    """What a person has allowed for good in a project."""

    __tablename__ = "permission"

    project: str = Field(
        sa_column=Column(Text(collation="C"), ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    )
    rule: str = Field(sa_column=Column(Text, primary_key=True))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()")),
    )


class Engine(SQLModel, table=True):
    """A process that claims tasks; the row is its lease."""

    __tablename__ = "engine"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    version: str = Field(sa_column=Column(Text, nullable=False))
    state: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'running'::text"))
    )
    wanted: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'run'::text")))
    max_parallel: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("4")))
    started_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
    lease_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
