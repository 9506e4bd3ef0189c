"""What a person may set: every key with its type, its default and what it is for."""

import ast
import inspect
import re
from functools import cache
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Group(BaseModel):
    """Settings that belong together. The line below each field is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@cache
def help_of(group: type[Group]) -> dict[str, str]:
    """The help of each field of a group: the line below it. Read from the source when asked for, since few programs ask and all start."""
    body = ast.parse(inspect.getsource(group)).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: inspect.cleandoc(line.value.value)
        for field, line in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    }


class EngineSettings(Group):
    """How the engine works."""

    max_parallel: int = Field(4, ge=0, le=1000)
    """Runs at a time on this host."""
    lease_seconds: float = Field(30, ge=2, le=600)
    """How long an engine may be silent before its work is given to others."""
    max_rescues: int = Field(3, ge=1, le=1000)
    """How often an engine may die under a task before the task is set aside."""
    retry_seconds: float = Field(5, ge=0, le=86400)
    """Pause before the second attempt after a failure; it doubles with each further one, up to ten minutes."""
    ship_interval: float = Field(0.05, ge=0.005, le=5)
    """Longest time in seconds that a line of a run waits before it is shipped to the database."""


class RunSettings(Group):
    """The limits of one run."""

    wall_seconds: float | None = Field(4 * 3600, gt=0)
    """Longest time of an agent's process; null: none."""
    idle_seconds: float | None = Field(1800, gt=0)
    """Longest silence of an agent's process that is not waiting for an answer; null: none."""
    output_bytes: int | None = Field(200_000_000, gt=0)
    """Most output of one process; null: no limit."""
    memory_bytes: int | None = Field(None, gt=0)
    """Most memory of the whole process tree; null: no limit."""
    interrupt_seconds: float = Field(5, ge=0)
    """Grace after the interrupt before the process tree is terminated."""
    terminate_seconds: float = Field(3, ge=0)
    """Grace after the termination before the process tree is killed."""
    gate_seconds: float = Field(1800, gt=0)
    """Time limit of each verify, setup and teardown command."""
    fetch_seconds: float = Field(10, ge=0)
    """A base that was fetched less than this many seconds ago is fresh enough."""


class WorktreeSettings(Group):
    """How long the leftovers of work are kept."""

    keep_days: float = Field(7, ge=0)
    """Age in days from which a leftover worktree is cleaned."""
    quota_bytes: int = Field(20_000_000_000, ge=0)
    """Size of all leftovers together from which the oldest are cleaned."""


class GatewaySettings(Group):
    """The gateway that every call to a model passes."""

    host: str = "127.0.0.1"
    """Address that it listens at; any other than loopback lets other machines in, with a run token."""
    port: int = Field(0, ge=0, le=65535)
    """Port that it listens at; 0: a free one, kept from then on."""
    wait_seconds: float = Field(60, ge=0, le=3600)
    """How long a call waits for room that others have reserved, or for a service to come back, before it is refused."""
    first_byte_seconds: float = Field(600, gt=0)
    """Longest time until a provider begins to answer."""
    silence_seconds: float = Field(300, gt=0)
    """Longest silence of a provider in the middle of an answer."""
    lease_seconds: float = Field(30, ge=1, le=600)
    """How long a gateway may be silent before what it has reserved counts as spent."""
    log: Literal["nothing", "calls", "bodies"] = "nothing"
    """What is written to `gateway.log`: nothing, a line per call, or all that passes, with keys and tokens removed."""


class KnowledgeSettings(Group):
    """What the crew knows."""

    context_tokens: int = Field(3000, ge=0, le=200_000)
    """Tokens that a run is told at most before it begins; 0: nothing."""
    index: Literal["auto", "off"] = "auto"
    """Whether the engine reads projects' repositories whenever they change, or only `qd knowledge index` does."""
    writer: str | None = Field(None, pattern="^[^/]+/.+$", max_length=300)
    """Model that words rules and patterns, as SERVICE/MODEL, within the budgets of the service; null: templates do."""


class QueueSettings(Group):
    """The whole queue."""

    paused: bool = False
    """While true no task is started, in any project; see `qd queue pause`."""


class ScreenSettings(Group):
    """How the screen calls the person, and where copies go."""

    clipboard: Literal["auto", "raw", "tmux", "native", "off"] = "auto"
    """Where copies go: the terminal (raw, OSC 52), tmux, the program of this desktop (native), a file (off), or what fits (auto)."""
    clipboard_bytes: int = Field(74_000, ge=0, le=100_000_000)
    """Most that is offered to a terminal or to tmux; what is larger is saved to a file."""
    bell: bool = True
    """Whether the screen rings, and notifies, when something needs the person."""
    quiet_hours: str | None = None
    """Local time in which nothing rings, such as 22:00-07:30; null: none."""

    @field_validator("quiet_hours")
    @classmethod
    def _two_times(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("it is two times of the day, such as 22:00-07:30")
        return value


class GitHubSettings(Group):
    """Where pull requests are read from."""

    api_url: str = Field("https://api.github.com", pattern="^https?://")
    """Address of GitHub's API; of a GitHub Enterprise server `https://HOST/api/v3`. Its token is kept under the name `github.token`."""


class EventSettings(Group):
    """How long what agents said is kept."""

    keep_days: float | None = Field(None, gt=0)
    """Age in days from which events are dropped, a month at a time; null: never."""


class Settings(Group):
    """All settings.

    In ``config.toml`` each group is a table; in the database and for `qd settings` a key is ``group.name``.
    """

    database_url: str | None = Field(None, pattern="^postgres(ql)?://", repr=False)
    """A Postgres 15 or newer with pgvector to use in place of the embedded one; read from `config.toml` only."""
    engine: EngineSettings = EngineSettings()
    run: RunSettings = RunSettings()
    events: EventSettings = EventSettings()
    worktree: WorktreeSettings = WorktreeSettings()
    queue: QueueSettings = QueueSettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    gateway: GatewaySettings = GatewaySettings()
    github: GitHubSettings = GitHubSettings()
    screen: ScreenSettings = ScreenSettings()
