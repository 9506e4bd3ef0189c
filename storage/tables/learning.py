"""What was learned from already, and when what comes round was last done."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Integer, Text
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel


def _project() -> Column[str]:
    target = ForeignKey("project.id", ondelete="CASCADE", onupdate="CASCADE")
    return Column(Text(collation="C"), target, primary_key=True)


def _now() -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=False, server_default=sql("clock_timestamp()"))


class LearnedMerge(SQLModel, table=True):
    """A run whose merged change was looked at for patterns."""

    __tablename__ = "learned_merge"

    run: int = Field(sa_column=Column(BigInteger, ForeignKey("run.number", ondelete="CASCADE"), primary_key=True))
    at: datetime | None = Field(default=None, sa_column=_now())


class LearnedPull(SQLModel, table=True):
    """A merged pull request that was learned from."""

    __tablename__ = "learned_pull"

    project: str = Field(sa_column=_project())
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    title: str = Field(sa_column=Column(Text, nullable=False))
    task: int | None = Field(default=None, sa_column=Column(BigInteger))
    merge_commit: str | None = Field(default=None, sa_column=Column(Text))
    merged_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    learned_at: datetime | None = Field(default=None, sa_column=_now())


class SeenRevert(SQLModel, table=True):
    """A commit that took another back."""

    __tablename__ = "seen_revert"

    project: str = Field(sa_column=_project())
    commit: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    undoes: str = Field(sa_column=Column(Text(collation="C"), nullable=False))
    task: int | None = Field(default=None, sa_column=Column(BigInteger))
    at: datetime | None = Field(default=None, sa_column=_now())


class Upkeep(SQLModel, table=True):
    """When something that comes round was last done."""

    __tablename__ = "upkeep"

    name: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
