"""What a person may set: every key with its type, its default and what it is for."""

import ast
import inspect
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, Literal


def within(default: Any, **limits: Any) -> Any:
    """A field that is held to ``limits``, in the words of pydantic's ``Field``. They are checked where a person has set something
    (:mod:`config.reader`), so that a program whose settings are the defaults starts without loading what checks them.
    """
    return field(default=default, metadata=limits)


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together. The line below each field is its help."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic reads it


@dataclass(frozen=True, slots=True)
class EngineSettings(Group):
    """How the engine works."""

    max_parallel: int = within(4, ge=0, le=1000)
    """Runs at a time on this host."""
    lease_seconds: float = within(30, ge=2, le=600)
    """How long an engine may be silent before its work is given to others."""
    max_rescues: int = within(3, ge=1, le=1000)
    """How often an engine may die under a task before the task is set aside."""
    retry_seconds: float = within(5, ge=0, le=86400)
    """Pause before the second attempt after a failure; it doubles with each further one, up to ten minutes."""
    ship_interval: float = within(0.05, ge=0.005, le=5)
    """Longest time in seconds that a line of a run waits before it is shipped to the database."""


@dataclass(frozen=True, slots=True)
class RunSettings(Group):
    """The limits of one run."""

    wall_seconds: float | None = within(4 * 3600, gt=0)
    """Longest time of an agent's process; null: none."""
    idle_seconds: float | None = within(1800, gt=0)
    """Longest silence of an agent's process that is not waiting for an answer; null: none."""
    output_bytes: int | None = within(200_000_000, gt=0)
    """Most output of one process; null: no limit."""
    memory_bytes: int | None = within(None, gt=0)
    """Most memory of the whole process tree; null: no limit."""
    interrupt_seconds: float = within(5, ge=0)
    """Grace after the interrupt before the process tree is terminated."""
    terminate_seconds: float = within(3, ge=0)
    """Grace after the termination before the process tree is killed."""
    gate_seconds: float = within(1800, gt=0)
    """Time limit of each verify, setup and teardown command."""
    fetch_seconds: float = within(10, ge=0)
    """A base that was fetched less than this many seconds ago is fresh enough."""


@dataclass(frozen=True, slots=True)
class WorktreeSettings(Group):
    """How long the leftovers of work are kept."""

    keep_days: float = within(7, ge=0)
    """Age in days from which a leftover worktree is cleaned."""
    quota_bytes: int = within(20_000_000_000, ge=0)
    """Size of all leftovers together from which the oldest are cleaned."""


@dataclass(frozen=True, slots=True)
class GatewaySettings(Group):
    """The gateway that every call to a model passes."""

    host: str = "127.0.0.1"
    """Address that it listens at; any other than loopback lets other machines in, with a run token."""
    port: int = within(0, ge=0, le=65535)
    """Port that it listens at; 0: a free one, kept from then on."""
    wait_seconds: float = within(60, ge=0, le=3600)
    """How long a call waits for room that others have reserved, or for a service to come back, before it is refused."""
    first_byte_seconds: float = within(600, gt=0)
    """Longest time until a provider begins to answer."""
    silence_seconds: float = within(300, gt=0)
    """Longest silence of a provider in the middle of an answer."""
    lease_seconds: float = within(30, ge=1, le=600)
    """How long a gateway may be silent before what it has reserved counts as spent."""
    log: Literal["nothing", "calls", "bodies"] = "nothing"
    """What is written to `gateway.log`: nothing, a line per call, or all that passes, with keys and tokens removed."""


@dataclass(frozen=True, slots=True)
class KnowledgeSettings(Group):
    """What the crew knows."""

    context_tokens: int = within(3000, ge=0, le=200_000)
    """Tokens that a run is told at most before it begins; 0: nothing."""
    index: Literal["auto", "off"] = "auto"
    """Whether the engine reads projects' repositories whenever they change, or only `qd knowledge index` does."""
    writer: str | None = within(None, pattern="^[^/]+/.+$", max_length=300)
    """Model that words rules and patterns, as SERVICE/MODEL, within the budgets of the service; null: templates do."""


@dataclass(frozen=True, slots=True)
class QueueSettings(Group):
    """The whole queue."""

    paused: bool = False
    """While true no task is started, in any project; see `qd queue pause`."""


@dataclass(frozen=True, slots=True)
class ScreenSettings(Group):
    """How the screen calls the person, and where copies go."""

    clipboard: Literal["auto", "raw", "tmux", "native", "off"] = "auto"
    """Where copies go: the terminal (raw, OSC 52), tmux, the program of this desktop (native), a file (off), or what fits (auto)."""
    clipboard_bytes: int = within(74_000, ge=0, le=100_000_000)
    """Most that is offered to a terminal or to tmux; what is larger is saved to a file."""
    bell: bool = True
    """Whether the screen rings, and notifies, when something needs the person."""
    quiet_hours: str | None = None
    """Local time in which nothing rings, such as 22:00-07:30; null: none."""

    def __post_init__(self) -> None:
        hours = self.quiet_hours
        if hours is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", hours):
            raise ValueError("it is two times of the day, such as 22:00-07:30")


@dataclass(frozen=True, slots=True)
class GitHubSettings(Group):
    """Where pull requests are read from."""

    api_url: str = within("https://api.github.com", pattern="^https?://")
    """Address of GitHub's API; of a GitHub Enterprise server `https://HOST/api/v3`. Its token is kept under the name `github.token`."""


@dataclass(frozen=True, slots=True)
class EventSettings(Group):
    """How long what agents said is kept."""

    keep_days: float | None = within(None, gt=0)
    """Age in days from which events are dropped, a month at a time; null: never."""


@dataclass(frozen=True, slots=True)
class Settings(Group):
    """All settings.

    In ``config.toml`` each group is a table; in the database and for `qd settings` a key is ``group.name``.
    """

    database_url: str | None = field(default=None, repr=False, metadata={"pattern": "^postgres(ql)?://"})
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


@cache
def help_of(group: str) -> dict[str, str]:
    """The help of each field of a group, or of the keys that have none (``""``): the line below it. Read from the source when asked for,
    since few programs ask and all start.
    """
    held = type(getattr(Settings(), group)) if group else Settings
    body = ast.parse(inspect.getsource(held)).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: inspect.cleandoc(line.value.value)
        for field, line in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    }
