"""The demonstration as a command."""

import shlex
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

from core.commands.table import Context, Metavar, command
from core.demo.corner import Corner, corner
from core.demo.show import Happening, Outcome, crew_at_work, happenings
from storage.database import Role


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What came of the demonstration: the last item of its stream."""

    tasks: tuple[Outcome, ...]
    completed: int
    seconds: float
    cost_usd: Decimal
    table: ClassVar[str] = "tasks"
    closing: ClassVar[str] = (
        "{completed} of 12 tasks completed and merged in {seconds:.0f} s; nothing was charged (at list price: ${cost_usd:.4f})"
    )

    @property
    def exit_status(self) -> int:
        """0 when every task was completed."""
        return 0 if self.completed == len(self.tasks) else 1


@command("demo", role=Role.VIEWER, offline=True, screen=True)
async def demo(
    ctx: Context,
    *,
    headless: Annotated[bool, "Print what happens, also on a terminal"] = False,
    keep: Annotated[bool, "Leave the repositories and the database of the demo behind"] = False,
    record: Annotated[Path | None, "Write a recording of it to a new file, for `qd replay`", Metavar("FILE")] = None,
) -> AsyncGenerator[Happening | DemoReport]:
    """Show the whole job on sample repositories with a scripted model.

    A dozen tasks on two small projects: agents edit, checks fail and pass, a question is answered, changes are
    reviewed and merged. It needs no key and no network, and touches nothing of yours.
    """
    del headless  # the face has seen to it: here everything is told, not shown
    start = ctx.now()
    outcomes: list[Outcome] = []
    yield Happening(
        start, "", "demo", "two sample repositories, a dozen tasks, and a scripted model in place of a real one"
    )
    async with corner(ctx.paths, keep=keep) as where:
        if keep:
            look = f"QD_HOME={shlex.quote(str(where.home))} QD_DATABASE_URL={shlex.quote(where.dsn)} qd task list"
            yield Happening(ctx.now(), "", "demo", f"it stays; to look around: {look}")
        async with (
            crew_at_work(where, ctx.environ, ctx.cwd) as crew,
            recording_of(crew, where, record),
            aclosing(happenings(crew)) as told,
        ):
            async for item in told:
                if isinstance(item, Outcome):
                    outcomes.append(item)
                else:
                    yield item
    yield DemoReport(
        tasks=tuple(outcomes),
        completed=sum(outcome.status == "completed" for outcome in outcomes),
        seconds=(ctx.now() - start).total_seconds(),
        cost_usd=sum((outcome.cost_usd for outcome in outcomes), Decimal(0)),
    )


@asynccontextmanager
async def recording_of(crew: Context, where: Corner, file: Path | None) -> AsyncIterator[None]:
    """Record the demonstration, where it is to be; the folders of this machine are not in the file."""
    if file is None:
        yield
        return
    from core.recording import recorded

    async with recorded(crew.db, crew.who, crew.cwd / file, crew.now, {str(where.paths.state.parent): "/demo"}):
        yield
