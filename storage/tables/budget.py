"""Money: services, limits, the ledger of calls, and who may make them."""

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
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class Account(SQLModel, table=True):
    """What one limit has held back and paid out in one period, for one key."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("budget", "key", "starts"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    budget: int = Field(sa_column=Column(BigInteger, ForeignKey("budget.id", ondelete="CASCADE"), nullable=False))
    key: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    unit: str = Field(sa_column=Column(Text, nullable=False))
    starts: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    ends: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    hard: int | None = Field(default=None, sa_column=Column(BigInteger))
    extra: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    ceiling: int | None = Field(default=None, sa_column=Column(BigInteger))
    spent: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    reserved: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    overrun: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    estimated: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    imputed: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    next_alert: int | None = Field(default=None, sa_column=Column(BigInteger))


class Alert(SQLModel, table=True):
    """Something about money that people are told, once, and how often telling it was tried."""

    __tablename__ = "alert"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    scope: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text, nullable=False))
    budget: int | None = Field(default=None, sa_column=Column(BigInteger))
    level: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    period_start: datetime | None = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True), nullable=False, server_default=sql("'-infinity'::timestamp with time zone")
        ),
    )
    text: str = Field(sa_column=Column(Text, nullable=False))
    data: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    seen_by: str | None = Field(default=None, sa_column=Column(Text))
    seen_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    attempts: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    next_try: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    delivered_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    failure: str | None = Field(default=None, sa_column=Column(Text))


class Budget(SQLModel, table=True):
    """A limit: of what (scope and key), in which unit, over which period."""

    __tablename__ = "budget"
    __table_args__ = (UniqueConstraint("scope", "key", "unit", "period"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    scope: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    unit: str = Field(sa_column=Column(Text, nullable=False))
    period: str = Field(sa_column=Column(Text, nullable=False))
    zone: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'UTC'::text")))
    starts_on: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=False, server_default=sql("1")))
    hard: int | None = Field(default=None, sa_column=Column(BigInteger))
    soft: int | None = Field(default=None, sa_column=Column(BigInteger))
    thresholds: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(Integer), nullable=False, server_default=sql("'{50,80,100}'::integer[]"))
    )
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )


class BudgetWait(SQLModel, table=True):
    """A task that waits for money, and for whose."""

    __tablename__ = "budget_wait"

    task: int = Field(sa_column=Column(BigInteger, ForeignKey("task.number", ondelete="CASCADE"), primary_key=True))
    service: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    budget: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("budget.id", ondelete="SET NULL")))
    key: str | None = Field(
        default=None, sa_column=Column(Text(collation="C"), nullable=False, server_default=sql("''::text"))
    )
    need: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("1")))
    kind: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'budget'::text")))
    since: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class Charge(SQLModel, table=True):
    """One call of a model: what it held back, what it cost, and who made it."""

    __tablename__ = "charge"

    id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    service: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    project: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    task: int | None = Field(default=None, sa_column=Column(BigInteger))
    run: int | None = Field(default=None, sa_column=Column(BigInteger))
    agent: str | None = Field(default=None, sa_column=Column(Text(collation="C")))
    gateway: int | None = Field(default=None, sa_column=Column(BigInteger))
    kind: str | None = Field(default=None, sa_column=Column(Text, nullable=False, server_default=sql("'call'::text")))
    model: str | None = Field(default=None, sa_column=Column(Text))
    instead_of: str | None = Field(default=None, sa_column=Column(Text))
    status: str = Field(sa_column=Column(Text, nullable=False))
    basis: str | None = Field(default=None, sa_column=Column(Text))
    accounts: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(BigInteger), nullable=False, server_default=sql("'{}'::bigint[]"))
    )
    counted: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(BigInteger), nullable=False, server_default=sql("'{}'::bigint[]"))
    )
    reserved_micro: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    reserved_tokens: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    cost_micro: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    tokens: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0")))
    tokens_input: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_cache_read: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_cache_write_5m: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_cache_write_1h: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_output: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    tokens_thinking: int | None = Field(
        default=None, sa_column=Column(BigInteger, nullable=False, server_default=sql("0"))
    )
    actor: str | None = Field(default=None, sa_column=Column(Text))
    note: str | None = Field(default=None, sa_column=Column(Text))
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Circuit(SQLModel, table=True):
    """How a service is: whether calls are let through, and until when not."""

    __tablename__ = "circuit"

    service: str = Field(
        sa_column=Column(
            Text(collation="C"), ForeignKey("service.name", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
        )
    )
    state: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'closed'::text"))
    )
    open_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    failures: int | None = Field(default=None, sa_column=Column(Integer, nullable=False, server_default=sql("0")))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class Gateway(SQLModel, table=True):
    """A gateway process, and until when it counts as alive."""

    __tablename__ = "gateway"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    version: str = Field(sa_column=Column(Text, nullable=False))
    started_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    lease_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    swept: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))


class RunNotice(SQLModel, table=True):
    """Something that the gateway tells the engine of a run."""

    __tablename__ = "run_notice"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), nullable=False))
    at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    text: str = Field(sa_column=Column(Text, nullable=False))
    data: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    taken_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class RunToken(SQLModel, table=True):
    """The token of a run, as a hash."""

    __tablename__ = "run_token"

    hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), nullable=False))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Secret(SQLModel, table=True):
    """That a secret exists; its value is in the store of secrets."""

    __tablename__ = "secret"

    project: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    name: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )


class Service(SQLModel, table=True):
    """What costs money per use, and on which terms."""

    __tablename__ = "service"

    name: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, nullable=False, unique=True, server_default=sql("qd_uuid7()"))
    )
    provider: str = Field(sa_column=Column(Text, nullable=False))
    kind: str | None = Field(
        default=None, sa_column=Column(Text, nullable=False, server_default=sql("'metered'::text"))
    )
    base_url: str | None = Field(default=None, sa_column=Column(Text))
    key_env: str | None = Field(default=None, sa_column=Column(Text))
    catalogue: str | None = Field(default=None, sa_column=Column(Text))
    fallback: str | None = Field(
        default=None,
        sa_column=Column(Text(collation="C"), ForeignKey("service.name", ondelete="SET NULL", onupdate="CASCADE")),
    )
    models: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))
    )
    model_map: Any | None = Field(
        default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb"))
    )
    prices: Any | None = Field(default=None, sa_column=Column(JSONB, nullable=False, server_default=sql("'{}'::jsonb")))
    worst_price: Any | None = Field(default=None, sa_column=Column(JSONB))
    stream_options: bool | None = Field(
        default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("true"))
    )
    suspended: bool | None = Field(default=None, sa_column=Column(Boolean, nullable=False, server_default=sql("false")))
    suspended_reason: str | None = Field(default=None, sa_column=Column(Text))
    exhausted_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    created_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))
    )
    updated_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=sql("now()"))
    )
