"""Fingers do not wait: what is typed before its dialog, its field or its panel is there goes to it all the same."""

from tests.tui.terminal import terminal


def test_keys_that_come_all_at_once_reach_what_they_are_meant_for(day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": day}, "--readonly", size=(120, 40)) as line:
        line.wait("need you", 60)
        line.wait("3 queue · 22")
        line.send("3jj")
        line.wait("▎   #7")
        line.send(":task show 22\r")
        line.wait("Explain the format in the README")
        line.send("q3/lantern\r")
        line.wait("3 queue · 8 match")
        line.send("\x1b")
        line.wait("3 queue · 22")
        line.send(":nothing\x1b:task show 22\rq3/harbour\r")
        line.wait("3 queue · 12 match")
        line.send("\x1b")
        line.wait("3 queue · 22")
        line.send("Q")
        assert line.ended() == 0


def test_a_form_that_is_filled_in_faster_than_it_opens_has_every_letter_in_its_field(
    day: str, world_environ: dict[str, str]
) -> None:
    import asyncio

    import asyncpg

    with terminal(
        world_environ | {"QD_DATABASE_URL": day, "QD_ROLE": "supervisor"}, "--database-url", day, size=(120, 40)
    ) as line:
        line.wait("need you", 60)
        line.wait("harbour")
        line.send("tQuickly done\t\t\t5\x13")
        line.wait("Quickly done: pending")
        line.send("Q")
        assert line.ended() == 0

    async def added() -> tuple[str, ...]:
        connection = await asyncpg.connect(day)
        try:
            return tuple(await connection.fetchrow(
                "select b.title, t.project from task t join task_body b on b.task = t.number order by t.number desc limit 1"
            ))  # fmt: skip
        finally:
            await connection.close()

    assert asyncio.run(added()) == ("Quickly done", "harbour")
