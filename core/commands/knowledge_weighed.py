"""What consolidation has to say: what contradicts itself, and the standards as a file."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from core.commands.knowledge_views import check_project
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Slug
from storage.database import Role
from storage.queries.knowledge import Memory


@dataclass(frozen=True, slots=True)
class SideView:
    """One of two items that contradict each other."""

    number: int
    category: str
    project: str | None
    title: str
    text: str
    source: str
    worth: float


@dataclass(frozen=True, slots=True)
class ContradictionView:
    """Two items side by side, and why they cannot both hold. ``since``: when consolidation first found it; None: not yet."""

    left: SideView
    right: SideView
    why: str
    first: int
    second: int
    says: str
    against: str
    since: datetime | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("item", "first", "key"),
        Column("says", "says"),
        Column("item", "second", "key"),
        Column("against", "against"),
        Column("why", "why"),
        Column("since", "since", "time", spare=1),
    )
    empty: ClassVar[str] = "nothing contradicts itself"


@dataclass(frozen=True, slots=True)
class StandardsView:
    """The standards file of a project, or of all, or what is proposed to be changed of it; how many it holds, or are proposed."""

    project: str | None
    count: int
    text: str
    prints: ClassVar[str] = "text"


@command("knowledge.contradictions", role=Role.VIEWER)
async def contradictions(ctx: Context) -> list[ContradictionView]:
    """Show items that say opposite things, side by side.

    Delete or edit the one that is wrong, put one in the place of the other (`qd knowledge supersede`), or say that both stand
    (`qd knowledge keep-both`).
    """
    from core.knowledge.contradictions import contradictions as find

    async with ctx.db.transaction(ctx.who) as connection:
        found = await find(connection)
    return [
        ContradictionView(left, right, one.why, left.number, right.number, left.title, right.title, one.seen_at)
        for one in found
        for left, right in [(_side(one.left), _side(one.right))]
    ]


@command("knowledge.standards", role=Role.VIEWER)
async def standards(
    ctx: Context,
    project: Annotated[Slug | None, "of this project; without it, those of all projects"] = None,
    *,
    proposed: Annotated[bool, "what the proposals would change of it, as a diff"] = False,
) -> StandardsView:
    """Show the standards in force as one file, or what is proposed to be changed of it.

    A rule may be added, take the place of another, or be taken out; `qd knowledge show` has the change of one proposal.
    """
    from core.knowledge.standards import change_of, proposals_of, standards_of, standards_text

    async with ctx.db.transaction(ctx.who) as connection:
        await check_project(connection, project)
        if proposed:
            changes = await proposals_of(connection, project)
            return StandardsView(project, len(changes), await change_of(connection, project, changes))
        found = await standards_of(connection, project)
    return StandardsView(project, len(found), standards_text(project, [one.content for one in found]))


def _side(item: Memory) -> SideView:
    return SideView(item.number, item.category, item.project, item.title, item.content, item.source, item.worth)
