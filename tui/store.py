"""The one place that owns what the screen knows: it reads, listens and gives commands; widgets only show.

A widget subscribes with a *load* (how to read what it shows) and topics of the change feed. The store loads when a bell rings for one of them, one load of
a subscription at a time, several bells together, and never so often that loading takes more than a tenth of the time. It delivers only what differs
from what was delivered before, as a :class:`Fresh` message. So nothing is painted when nothing changes.

When the database is gone the store says so at once (:class:`Connection`), everybody keeps what they show, and it connects again by itself; the
feed then rings for everything.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import asyncpg
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

from config.errors import DatabaseGoneError, QuarterdeckError, UnavailableError
from config.settings import Settings
from core.commands.table import Context, find, invoke, utc_now
from core.faces.plain import one_line
from storage.database import Principal, Role, unreachable
from storage.feed import ChangeFeed

T = TypeVar("T")

Opener = Callable[[], AbstractAsyncContextManager[Context]]
"""Opens the context that the screen works with; called again after a failure."""

State = Literal["opening", "live", "gone"]
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
NOBODY = Principal("user:nobody", Role.VIEWER)
_RETRY_SECONDS = 1.0
_SHARE = 9.0
"""How many times as long as a load took the next one of the same subscription waits."""


@dataclass
class Fresh(Message, bubble=False):
    """What a subscription loads has changed."""

    data: Any
    of: "Subscription"


@dataclass
class Connection(Message, bubble=False):
    """The database answers again, or no more. ``words``: what it said."""

    state: State
    words: str


@dataclass(slots=True)
class Sent:
    """One command that the screen gave, for the log of all that it sent."""

    at: datetime
    words: str
    outcome: Literal["sent", "done", "refused"] = "sent"
    said: str = ""


@dataclass(eq=False)
class Subscription:
    """Somebody who shows something. Close it when the widget goes."""

    to: MessagePump
    topics: frozenset[str]
    load: Callable[[], Awaitable[Any]]
    store: "Store"
    data: Any = None
    loaded: bool = False
    pace: float = 0.0
    """Least seconds between two loads."""
    asleep: bool = False
    """While true nothing is loaded: the widget is not seen."""
    _due: float = 0.0
    _task: asyncio.Task[None] | None = None
    _dirty: bool = True
    _asked: bool = False
    """Whether the widget waits for the next load: it begins at once."""

    def refresh(self, *, superseded: bool = False) -> None:
        """Load again at once: the widget asks for something else. ``superseded``: what is being loaded now is wanted no more."""
        self._dirty = self._asked = True
        if superseded and self._task is not None:
            self._task.cancel()
        self.store.wake()

    def wake(self) -> None:
        """It is seen (again)."""
        if self.asleep:
            self.asleep = False
            self.store.wake()

    def close(self) -> None:
        """No more loads."""
        self.store.drop(self)


@dataclass
class _Told:
    """Who hears what the store says of itself."""

    to: MessagePump | None = None


class Store:
    """Reads, listens and gives commands for one screen."""

    def __init__(
        self, opener: Opener, *, readonly: bool = False, pace: float = 0.1, now: Callable[[], datetime] = utc_now
    ) -> None:
        """``pace``: least seconds between two loads of one subscription."""
        self._opener = opener
        self._pace = pace
        self._told = _Told()
        self._context: Context | None = None
        self._subscriptions: list[Subscription] = []
        self._loads: set[asyncio.Task[Any]] = set()
        self._shared: dict[str, tuple[int, asyncio.Task[Any]]] = {}
        self._heard = 0
        """How many bells were heard."""
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._ready = asyncio.Event()
        self._filled = asyncio.Event()
        self.now = now
        self.readonly = readonly
        self.state: State = "opening"
        self.words = ""
        self.as_of: datetime | None = None
        """When the database answered last."""
        self.sent: deque[Sent] = deque(maxlen=1000)

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, to: MessagePump) -> None:
        """Begin to work; ``to`` hears of the connection. In the event loop of the app."""
        self._told.to = to
        self._runner = asyncio.create_task(self._run(), name="store of the screen")

    async def stop(self) -> None:
        """End everything that the store has begun, within a second."""
        doomed = [task for task in (self._runner, *self._loads) if task is not None]
        for task in doomed:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*doomed, return_exceptions=True)

    @property
    def who(self) -> Principal:
        """As whom the screen acts."""
        return self._context.who if self._context else NOBODY

    @property
    def context(self) -> Context | None:
        """What commands are given, once there is a database."""
        return self._context

    @property
    def gone(self) -> bool:
        """Whether the database does not answer."""
        return self.state == "gone"

    async def ready(self) -> None:
        """Wait for the first connection."""
        await self._ready.wait()

    async def filled(self) -> None:
        """Wait until everything that was wanted at first has been loaded."""
        await self._filled.wait()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, name: str, /, **arguments: Any) -> Any:
        """The answer of a command that only reads. Raises the errors of :mod:`config.errors`."""
        return await self._guarded(invoke(self._open_context(), name, arguments))

    async def once(self, name: str, load: Callable[[], Awaitable[T]]) -> T:
        """What ``load`` answers. Between two bells it is asked once for all who call it by this name: nothing has changed."""
        held = self._shared.get(name)
        if held is None or held[0] != self._heard or (held[1].done() and (held[1].cancelled() or held[1].exception())):
            task = asyncio.create_task(_run(load), name=f"{name} for all")
            held = self._shared[name] = (self._heard, task)
            self._loads.add(task)
            task.add_done_callback(self._loads.discard)
        return await asyncio.shield(held[1])

    async def stream(self, name: str, /, **arguments: Any) -> AsyncIterator[Any]:
        """The items of a streaming command that only reads."""
        items: AsyncIterator[Any] = await self.ask(name, **arguments)
        async for item in items:
            yield item

    async def read(self, query: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """What a query of :mod:`storage.queries` answers, as the person at the screen; at most ten seconds long."""
        return await self._guarded(self._read(query))

    async def settings(self) -> Settings:
        """The settings as they are now; commands are given with them from then on."""
        from storage.source import load_settings

        held = self._open_context()
        settings = await self._guarded(load_settings(held.db, held.who, held.paths, held.environ))
        self._context = replace(held, settings=settings)
        return settings

    async def _read(self, query: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        context = self._open_context()
        async with context.db.transaction(context.who) as connection:
            await connection.execute("set local statement_timeout = '10s'")
            return await query(connection)

    def subscribe(
        self,
        to: MessagePump,
        topics: Iterable[str],
        load: Callable[[], Awaitable[Any]],
        *,
        swept: bool = True,
        pace: float = 0.0,
    ) -> Subscription:
        """Have ``load`` called now and whenever one of ``topics`` rings; ``to`` gets a :class:`Fresh` for what differs.

        ``pace``: least seconds between two loads, where that is more than the store's own.
        """
        made = Subscription(to, frozenset(topics) | ({"*"} if swept else set()), load, self, pace=max(pace, self._pace))
        self._subscriptions.append(made)
        self.wake()
        return made

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        with suppress(ValueError):
            self._subscriptions.remove(subscription)

    def rest(self, screen: Screen[Any]) -> None:
        """Load nothing for the widgets of a screen that is not seen."""
        for subscription in self._subscriptions:
            subscription.asleep = subscription.asleep or _belongs(subscription.to, screen)

    def rouse(self, screen: Screen[Any]) -> None:
        """Load again for the widgets of a screen; at once what has changed meanwhile."""
        for subscription in self._subscriptions:
            if _belongs(subscription.to, screen):
                subscription.wake()

    def reload(self) -> None:
        """Have everybody load again, as after a gap."""
        self._hear(frozenset({"*"}))

    @property
    def settled(self) -> bool:
        """Whether nobody loads and nobody wants to."""
        return self.state == "live" and not any(s._dirty or s._task for s in self._subscriptions if not s.asleep)  # noqa: SLF001

    # ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def do(self, name: str, arguments: Mapping[str, Any], *, words: str = "") -> Any:
        """Give a command, and write down that it was given. Raises the errors of :mod:`config.errors`."""
        entry = Sent(self.now(), words or spoken(name, arguments))
        self.sent.append(entry)
        if self.readonly and find(name).role is not Role.VIEWER:
            entry.outcome, entry.said = "refused", "the screen is read-only"
            raise QuarterdeckError("the screen is read-only", "start it without --readonly")
        try:
            result = await self._guarded(invoke(self._open_context(), name, dict(arguments)))
        except QuarterdeckError as error:
            entry.outcome, entry.said = "refused", error.sentence()
            raise
        entry.outcome = "done"
        if name.startswith("settings."):
            await self.settings()
        return result

    async def do_all(self, name: str, arguments: Mapping[str, Any]) -> list[Any]:
        """As :meth:`do`, for a command that tells one thing after the other: all of them."""
        items: AsyncIterator[Any] = await self.do(name, arguments)
        return await self._guarded(_all(items))

    # ── behind the scenes ───────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Look who wants to load."""
        self._wake.set()

    def _open_context(self) -> Context:
        if self._context is None:
            raise DatabaseGoneError("the database is not there yet", "wait for it, or see `qd doctor`")
        return self._context

    async def _guarded(self, work: Awaitable[T]) -> T:
        """The result of some work; that the database is gone is noticed here."""
        try:
            result = await work
        except DatabaseGoneError as error:
            self._lose(error.message)
            raise
        except asyncpg.QueryCanceledError:
            raise QuarterdeckError("it took longer than ten seconds", "narrow it down") from None
        except asyncpg.PostgresError as error:
            if isinstance(error, _GONE):
                self._lose(str(error))
                raise unreachable(error) from error
            raise QuarterdeckError(f"the database refuses: {one_line(str(error))}") from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._lose(str(error))
            raise unreachable(error) from error
        self.as_of = self.now()
        return result

    def _say(self, state: State, words: str = "") -> None:
        if (state, words) != (self.state, self.words):
            self.state, self.words = state, words
            if self._told.to is not None:
                self._told.to.post_message(Connection(state, words))

    def _lose(self, words: str) -> None:
        if self.state == "live":
            self._say("gone", one_line(words))
            self._lost.set()

    async def _run(self) -> None:
        while True:
            try:
                async with self._opener() as context:
                    self._context = context
                    self._lost.clear()
                    await self._live(context)
            except (UnavailableError, *_GONE) as error:
                self._say("gone", error.message if isinstance(error, QuarterdeckError) else one_line(str(error)))
            except QuarterdeckError as error:
                self._say("gone", error.sentence())
            await asyncio.sleep(_RETRY_SECONDS)

    async def _live(self, context: Context) -> None:
        """Listen and load until cancelled. The pool heals itself; the feed says when the database is gone and back."""
        feed = ChangeFeed(context.db.dsn, self._hear, sweep=15.0, probe=5.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run(), name="feed of the screen")
            group.create_task(self._attend(feed), name="connection of the screen")
            group.create_task(self._serve(), name="loads of the screen")

    async def _attend(self, feed: ChangeFeed) -> None:
        """Notice within a tenth of a second that the feed hears the database no more, or again."""
        begun = time.monotonic()
        while True:
            if feed.connected.is_set():
                self._ready.set()
                self._lost.clear()
                self._say("live")
            elif self.state == "live" or (self.state == "opening" and time.monotonic() - begun > 3):
                self._say("gone", "the connection was lost")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._lost.wait()
                    await asyncio.sleep(0.25)

    def _hear(self, topics: frozenset[str]) -> None:
        self._heard += 1
        rung = False
        for subscription in self._subscriptions:
            if subscription.topics & topics or ("*" in topics and "*" in subscription.topics):
                subscription._dirty = True  # noqa: SLF001 - its owner
                rung = True
        if rung:
            self.wake()

    async def _serve(self) -> None:
        """Begin the loads that are due; sleep until the next is, or somebody wakes the store."""
        while True:
            self._wake.clear()
            soonest: float | None = None
            now = time.monotonic()
            if self._subscriptions and all(s.loaded or s.asleep for s in self._subscriptions):
                self._filled.set()
            for subscription in list(self._subscriptions):
                if not subscription._dirty or subscription.asleep or subscription._task is not None:  # noqa: SLF001
                    continue
                if subscription._asked or subscription._due <= now:  # noqa: SLF001
                    self._begin(subscription)
                else:
                    soonest = min(soonest or subscription._due, subscription._due)  # noqa: SLF001
            with suppress(TimeoutError):
                async with asyncio.timeout(None if soonest is None else max(0.0, soonest - now)):
                    await self._wake.wait()

    def _begin(self, subscription: Subscription) -> None:
        subscription._dirty = subscription._asked = False  # noqa: SLF001
        begun = time.monotonic()
        task = asyncio.create_task(self._load(subscription), name="load of the screen")
        subscription._task = task  # noqa: SLF001
        self._loads.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._loads.discard(task)
            took = time.monotonic() - begun
            subscription._due = max(subscription._due, begun + max(subscription.pace, took * _SHARE))  # noqa: SLF001
            subscription._task = None  # noqa: SLF001
            self.wake()

        task.add_done_callback(ended)  # not in the task: one that is given up before its first step never gets so far

    async def _load(self, subscription: Subscription) -> None:
        try:
            data = await subscription.load()
        except DatabaseGoneError:
            subscription._dirty = True  # noqa: SLF001
            subscription._due = time.monotonic() + _RETRY_SECONDS  # noqa: SLF001
        except QuarterdeckError as error:
            self._deliver(subscription, Trouble(error.sentence()))
        else:
            self._deliver(subscription, data)

    def _deliver(self, subscription: Subscription, data: Any) -> None:
        if subscription.loaded and data == subscription.data:
            return
        subscription.data, subscription.loaded = data, True
        if subscription in self._subscriptions:
            subscription.to.post_message(Fresh(data, subscription))


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is delivered in place of data when a load failed: the sentence to show."""

    words: str
    at: float = field(default=0.0, compare=False)


async def _all(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


async def _run(load: Callable[[], Awaitable[T]]) -> T:
    return await load()


def _belongs(to: MessagePump, screen: Screen[Any]) -> bool:
    return to is screen or (isinstance(to, Widget) and to.is_attached and to.screen is screen)


def spoken(name: str, arguments: Mapping[str, Any]) -> str:
    """A command as it would be written on the command line; values in their full length, harmless."""
    import shlex

    words = name.replace(".", " ").split()
    entry = find(name)
    for parameter in entry.parameters:
        if parameter.name not in arguments:
            continue
        value = arguments[parameter.name]
        values = value if isinstance(value, list | tuple) else [value]
        for item in values:
            if parameter.kind != "value":
                words += [parameter.option if item else parameter.option.replace("--", "--no-", 1)]
            else:
                words += [] if parameter.positional else [parameter.option]
                words.append(shlex.quote(one_line(str(item))))
    return " ".join(words)
