"""`qd audit list`."""

from tests.command_line import CommandLine


async def test_every_change_is_told_with_who_what_before_and_after(qd: CommandLine) -> None:
    await qd("agent", "add", "a", "--adapter", "command", "--command", "true")
    await qd("agent", "edit", "a", "--model", "m2")
    await qd("agent", "remove", "a")
    removed, edited, added = (await qd("audit", "list", "--on", "agent", "--json")).json
    assert [entry["action"] for entry in (added, edited, removed)] == ["insert", "update", "delete"]
    assert (edited["before"], edited["after"]) == ({"model": None}, {"model": "m2"})
    assert edited["kind"] == "agent"
    assert edited["key"] == "a"
    assert edited["actor"].startswith("user:")
    assert edited["at"].endswith("Z")
    assert "model nothing → m2" in (await qd("audit", "list")).out


async def test_the_limits_of_budgets_are_in_their_unit(qd: CommandLine) -> None:
    await qd("agent", "add", "a", "--adapter", "command", "--command", "true")
    await qd("budget", "set", "agent", "a", "--usd", "20", "--soft", "12.5")
    await qd("budget", "set", "agent", "a", "--usd", "25")
    await qd("budget", "set", "agent", "a", "--tokens", "9000")
    await qd("budget", "set", "agent", "a", "--tokens", "9500")
    more, tokens, changed, made = (await qd("audit", "list", "--on", "budget", "--json")).json
    assert (made["after"]["hard_usd"], made["after"]["soft_usd"]) == (20.0, 12.5)
    assert (changed["before"]["hard_usd"], changed["after"]["hard_usd"]) == (20.0, 25.0)
    assert tokens["after"]["hard"] == 9000
    assert (more["before"]["hard"], more["after"]["hard"]) == (9000, 9500)
    assert "hard_usd 20.0 → 25.0" in (await qd("audit", "list", "--on", "budget")).out
    gone = await qd("budget", "remove", "agent", "a", "--unit", "usd", "--yes")
    assert gone.code == 0, gone.err
    again = (await qd("audit", "list", "--on", "budget", "--json")).json
    assert [again[0]["before"]["hard_usd"], again[3]["after"]["hard_usd"]] == [25.0, 25.0]


async def test_the_trail_is_narrowed_and_paged(qd: CommandLine) -> None:
    for n in range(5):
        await qd("settings", "set", "engine.max_parallel", str(n))
    newest = (await qd("audit", "list", "--limit", "2", "--json")).json
    assert len(newest) == 2
    older = (await qd("audit", "list", "--before", str(newest[-1]["id"]), "--json")).json
    assert len(older) == 3
    who = newest[0]["actor"].removeprefix("user:")
    assert len((await qd("audit", "list", "--actor", who, "--json")).json) == 5
    assert (await qd("audit", "list", "--actor", "nobody-else", "--json")).json == []
    assert (await qd("audit", "list", "--key", "engine.max_parallel", "--on", "setting", "--json")).json
    assert (await qd("audit", "list", "--since", "+1h", "--json")).json == []
    assert len((await qd("audit", "list", "--since", "2020-01-01", "--json")).json) == 5


async def test_a_wrong_question_is_refused(qd: CommandLine) -> None:
    outcome = await qd("audit", "list", "--on", "agnet")
    assert outcome.code == 2
    assert "did you mean agent?" in outcome.err
    assert (await qd("audit", "list", "--since", "yesterdayish")).code == 2
    assert (await qd("audit", "list", "--limit", "0")).code == 2
    assert (await qd("audit", "list", "--limit", "99999999999999999999")).code == 2
    assert (await qd("audit", "list", "--before", "99999999999999999999")).code == 2
    assert (await qd("audit", "list", "--actor", "'; drop table audit; --", "--json")).json == []
