"""What the engine calls, so that a run is metered from its first call to its last.

In the order of a run's life:

1. With the engine: :class:`GatewayWatch` (its ``run`` owned by the engine's task group) keeps a gateway process alive;
   ``url`` is its address.
2. Before a claimed task starts: :func:`may_start`. A :class:`Refused` means: make it wait (5.) without a run.
3. After the run's row is committed, before the spawn: :func:`issue_token`; :func:`agent_environment` goes into what the
   agent is given. An adopted run keeps its token: only its hash is known.
4. On a bell with the topic ``notice:<run>``, and with each sweep: :func:`take_notices`; each becomes an event of its
   run (``status`` for ``fallback``, ``error`` else). A notice ``budget`` or ``service`` says that the model has been
   refused: an agent that half a minute later has neither ended by itself nor been answered (:func:`refused_runs`) is
   interrupted. One of kind ``provider`` says that trouble of the provider's was passed on: the run goes on as it likes.
5. At the end of every run: :func:`end_run` (its token dies, its cost is the ledger's). If the agent did not succeed,
   :func:`why_refused`; with a ``Refused`` of kind ``budget`` the attempt is no failure: :func:`hand_over` names an
   agent that speaks the protocol of the next service, if there is one; else, in one transaction, :func:`wait` and
   ``queue.finish(…, "wait", wait="budget", reason=refused.text)``. Of kind ``service``: :func:`wait` and
   ``queue.finish(…, "wait", wait="time", retry_in=timedelta(seconds=refused.retry_seconds))``, or with ``wait="person"``
   where the service has no key.
6. After events of usage: :func:`went_over` and :func:`unpriced`, for the runs that call past the gateway.
7. On the topics ``budget`` and ``service``, at :func:`next_reset`, and with each sweep: :func:`wake`.
8. With the timers, once a minute: :func:`core.budget.alerts.deliver`.
"""

import asyncio
import base64
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from config.errors import UnavailableError
from config.paths import Paths
from config.settings import GatewaySettings
from storage.queries import budget, budget_runs
from storage.queries.budget_runs import Notice, Over, Refused, Unpriced

if TYPE_CHECKING:
    from core.budget.gateway.boot import Boot

log = logging.getLogger(__name__)

_PROTOCOL = {"other": "openai"}
"""Whose protocol the services of a provider speak, where it is not their own."""

_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "QD_HOME", "QD_SECRETS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"),
    *(
        "DBUS_SESSION_BUS_ADDRESS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NO_PROXY",
        "no_proxy",
        "HTTPS_PROXY",
        "https_proxy",
    ),
)
"""What of the environment the gateway needs; none of it is a secret."""


async def issue_token(connection: asyncpg.Connection, run: int) -> str:
    """A new token for a run, good as long as the run is alive. It is shown this once; the database knows its hash."""
    from core.budget.gateway.books import digest_of

    token = "qdr_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    await budget.store_token(connection, run, digest_of(token))
    return token


async def revoke(connection: asyncpg.Connection, run: int) -> int:
    """End every token of a run; how many."""
    return await budget.revoke_tokens(connection, run)


def agent_environment(url: str, token: str) -> dict[str, str]:
    """The addresses of the gateway for every protocol, with the run token as key."""
    return {
        "QD_RUN_TOKEN": token,
        "ANTHROPIC_BASE_URL": f"{url}/anthropic",
        "ANTHROPIC_API_KEY": token,
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "OPENAI_API_KEY": token,
        "GOOGLE_GEMINI_BASE_URL": f"{url}/gemini",
        "GEMINI_API_KEY": token,
    }


def protocol_of(provider: str) -> str:
    """The protocol that the services of a provider speak."""
    return _PROTOCOL.get(provider, provider)


async def may_start(
    connection: asyncpg.Connection, *, project: str, task: int, agent: str, speaks: frozenset[str]
) -> Refused | None:
    """Why a run could make no call at all: a limit of its project, task, agent or day, or of every service that it
    could use.

    ``speaks``: the protocols of its program. One of which nobody knows them may have no need of a model: it may start,
    unless it has told of calls of its own before. Those that go past the gateway are held to no service.
    """
    if not speaks and not await budget_runs.tells_of_calls(connection, agent):
        return None
    refused = await budget_runs.exhausted(connection, project, task, agent)
    if refused is not None:
        return refused
    found = {service.name: service for service in await budget.services(connection)}
    stand_ins = {service.fallback for service in found.values()}
    first: Refused | None = None
    for head in found.values():
        if protocol_of(head.provider) not in speaks or head.name in stand_ins:
            continue
        name: str | None = head.name
        seen: set[str] = set()
        while name in found and name not in seen and protocol_of(found[name].provider) in speaks:
            seen.add(name)
            refused = await budget_runs.service_spent(connection, name)
            if refused is None:
                return None
            first = first or refused
            name = found[name].fallback
        if first and name in found and name not in seen and first.other_protocol is None:
            first = replace(first, other_protocol={"service": name, "provider": found[name].provider})
    return first


async def take_notices(connection: asyncpg.Connection, engine: int) -> list[Notice]:
    """What is new about the runs of an engine, each once."""
    return await budget_runs.take_notices(connection, engine)


async def refused_runs(connection: asyncpg.Connection, engine: int, seconds: float) -> dict[int, datetime]:
    """The runs of an engine whose agents have got no answer for so many seconds, and the refusal since which."""
    return await budget_runs.refused_runs(connection, engine, timedelta(seconds=seconds))


async def why_refused(connection: asyncpg.Connection, run: int) -> Refused | None:
    """Why the last call of a run was refused; None when its last call was answered."""
    return await budget_runs.last_refusal(connection, run)


async def went_over(connection: asyncpg.Connection, run: int) -> Over | None:
    """The limit that a run has gone beyond with calls that did not pass the gateway; None where there is none."""
    return await budget_runs.went_over(connection, run)


async def unpriced(connection: asyncpg.Connection, run: int) -> Unpriced:
    """What is to be said of the calls of a run that did not pass the gateway and whose price nobody knows."""
    return await budget_runs.unpriced(connection, run)


async def wait(connection: asyncpg.Connection, task: int, refused: Refused) -> None:
    """Remember what a task waits for: in the transaction that finishes it with ``"wait"``."""
    await budget_runs.add_wait(connection, task, refused)


async def wake(connection: asyncpg.Connection) -> int:
    """Make ready the tasks whose budget or service can take a call again; how many. Ring ``task`` when there were any."""
    return await budget_runs.wake(connection)


async def next_reset(connection: asyncpg.Connection) -> datetime | None:
    """When to :func:`wake` next, at the latest: the next budget begins anew, or a service may be asked again."""
    return await budget_runs.next_reset(connection)


async def end_run(connection: asyncpg.Connection, run: int) -> None:
    """The end of a run: its token is dead, what it has cost is what the ledger says."""
    await budget.revoke_tokens(connection, run)
    await budget_runs.close_run(connection, run)


@dataclass(frozen=True, slots=True)
class HandOver:
    """Who goes on where the model of a run's agent is used up, and what they are told."""

    agent: str
    note: str


async def hand_over(
    connection: asyncpg.Connection, project: str, agent: str, refused: Refused, adapters: Mapping[str, frozenset[str]]
) -> HandOver | None:
    """An agent that speaks the protocol of the next service in the chain; None where there is none.

    ``adapters``: the protocols of every adapter's program. The task is to be made ready with this agent and, as its feedback, the note; its worktree stays.
    """
    if refused.other_protocol is None:
        return None
    found = {service.name: service for service in await budget.services(connection)}
    name: str | None = refused.other_protocol["service"]
    seen: set[str] = set()
    while name in found and name not in seen:
        seen.add(name)
        protocol = protocol_of(found[name].provider)
        fit = [adapter for adapter, speaks in adapters.items() if protocol in speaks]
        others = [other for other in await budget_runs.agents_speaking(connection, fit, project) if other != agent]
        if others and await budget_runs.service_spent(connection, name) is None:
            return HandOver(others[0], _note(agent, refused.text, name))
        name = found[name].fallback
    return None


def _note(agent: str, reason: str, service: str) -> str:
    return (
        f"Agent {agent} was at this task in this worktree until {reason}. Its work so far is here, uncommitted"
        f" changes included: look at `git status` and `git diff` first, keep what is good, and go on from there."
        f" You are working with service {service}."
    )


class GatewayWatch:
    """Keeps one gateway process alive for a state folder; takes up one that is there.

    The gateway is in a session of its own and outlives the engine, as the agents do. Its arguments and its environment
    hold no secrets: what it needs comes on its stdin.
    """

    def __init__(
        self, paths: Paths, settings: GatewaySettings, dsn: str, version: str, environ: Mapping[str, str]
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._dsn = dsn
        self._version = version
        self._environ = {name: environ[name] for name in _KEPT if name in environ}
        self._ready = asyncio.Event()
        self._url: str | None = None

    async def url(self, seconds: float = 60.0) -> str:
        """The gateway's address, once it listens. Raises UnavailableError."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            raise UnavailableError("the gateway does not start", f"see {self._log}") from None
        assert self._url is not None
        return self._url

    async def run(self) -> None:
        """Watch until cancelled; the gateway goes on. One that ends, or cannot be started, is started again, after a
        growing pause.
        """
        pause = 0.1
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if not is_served(self._paths):
                    self._ready.clear()
                    await self._start()
                else:
                    await self._take_up()
                await self._until_it_ends()
            except (OSError, ValueError) as error:
                log.warning("the gateway cannot be watched: %s", error)
            pause = 0.1 if loop.time() - began > 10 else min(pause * 2, 10.0)
            await asyncio.sleep(pause)

    @property
    def _log(self) -> Path:
        return self._paths.logs / "gateway.err"

    def _boot(self) -> "Boot":
        from core.budget.gateway.boot import Boot

        return Boot(self._dsn, self._paths, self._settings, self._version)

    async def _start(self) -> None:
        self._paths.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "core.budget.gateway",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environ,
                cwd=self._paths.state,
                start_new_session=True,
            )
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(self._boot().to_json().encode() + b"\n")
            await process.stdin.drain()
        process.stdin.close()
        deadline = asyncio.get_running_loop().time() + 60
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:
            if (record := _record(self._paths)) and record.get("pid") == process.pid:
                self._listen(record)
                return
            await asyncio.sleep(0.05)

    async def _take_up(self) -> None:
        """Use the gateway that is there, or end it in order where it is of another version or other settings."""
        for _ in range(600):
            record = _record(self._paths)
            if record and _alive(int(str(record["pid"]))):
                if record.get("mark") == self._boot().mark():
                    self._listen(record)
                else:
                    log.warning("the gateway is of another version or other settings: it is replaced")
                    await stop_gateway(self._paths)
                return
            await asyncio.sleep(0.1)

    def _listen(self, record: Mapping[str, object]) -> None:
        self._url = str(record["url"])
        self._ready.set()

    async def _until_it_ends(self) -> None:
        while is_served(self._paths):  # noqa: ASYNC110 - the lock of another process rings no bell
            await asyncio.sleep(0.25)


def is_served(paths: Paths) -> bool:
    """Whether a gateway process holds the lock of this state folder."""
    try:
        handle = os.open(paths.state / "gateway.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


async def stop_gateway(paths: Paths, seconds: float = 20.0) -> bool:
    """End the gateway of this state folder in order, once no run needs it any more; False when it is still there
    then.
    """
    record = _record(paths)
    if record is None or not is_served(paths):
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(str(record["pid"])), signal.SIGTERM)
    deadline = asyncio.get_running_loop().time() + seconds
    while is_served(paths):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)
    for _ in range(40):  # the lock goes a moment before the process does
        if not _alive(int(str(record["pid"]))):
            break
        await asyncio.sleep(0.05)
    return True


def _record(paths: Paths) -> Mapping[str, object] | None:
    try:
        value = json.loads((paths.state / "gateway.json").read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"url", "pid"} <= set(value) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
