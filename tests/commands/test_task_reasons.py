"""Why is this not running? Answered in words, from the state."""

from tests.crew import Crew


async def test_a_blocked_task_names_what_it_waits_for(crew: Crew) -> None:
    parents = [await crew.add() for _ in range(7)]
    done = await crew.add(priority=5)
    child = await crew.add(after=[*parents, done])
    await crew.begin(done)
    await crew.end(done)
    shown = ", ".join(f"#{number} (pending)" for number in parents[:5])
    assert await crew.reason(child) == f"waits for {shown} and 2 more"


async def test_a_waiting_task_names_its_date(crew: Crew) -> None:
    number = await crew.add(not_before="2099-05-06T07:08:09+02:00")
    assert await crew.reason(number) == "starts at 2099-05-06T05:08:09Z"
    other = await crew.add()
    await crew.begin(other)
    await crew.connection.execute("select task_finish($1, 1, 'retry', 'the tests fail', '1 h')", other)
    assert (await crew.reason(other)).startswith("the tests fail; starts at 2")


async def test_a_task_that_waits_for_a_person_names_the_question(crew: Crew) -> None:
    number = await crew.add()
    question = await crew.ask(await crew.begin(number), "Which\n colour?")
    await crew.connection.execute("select task_finish($1, 1, 'wait', 'it asked', null, 'person')", number)
    assert await crew.reason(number) == f"waits for the answer to question {question}: Which colour?"
    await crew.connection.execute("update question set status = 'expired'")
    assert await crew.reason(number) == "it asked"


async def test_each_obstacle_of_a_ready_task_is_named_the_widest_first(crew: Crew) -> None:
    number = await crew.add(agent="coder")
    obstacles = [
        ("insert into setting values ('queue.paused', 'true')", "delete from setting", "the queue is paused"),
        ("update load set paused = true", "update load set paused = false", "project app is paused"),
        ("update agent set enabled = false", "update agent set enabled = true", "agent coder is disabled"),
        ("update agent set name = 'else'", "update agent set name = 'coder'", "agent coder is unknown"),
        ("select 1", "select engine_register('here', 'here', 1, '1', 1, '1 hour')", "no engine is running"),
        (
            "update load set running = 4",
            "update load set running = 0",
            "project app is full: 4 of 4 tasks are in progress",
        ),
        (
            "update agent set max_parallel = 1; update agent_slot set task = 99",
            "update agent set max_parallel = null",
            "agent coder is full: 1 of 1 tasks are in progress",
        ),
        (
            "update engine set max_parallel = 0",
            "update engine set max_parallel = 2",
            "every engine is full: 0 of 0 runs",
        ),
    ]
    for make, clear, words in obstacles:
        await crew.connection.execute(make)
        assert await crew.reason(number) == words
        await crew.connection.execute(clear)
    assert await crew.reason(number) == "ready: it is next in project app"


async def test_a_task_for_anybody_names_that_nobody_can(crew: Crew) -> None:
    number = await crew.add()
    await crew.engine()
    await crew.connection.execute("update agent set enabled = false")
    assert await crew.reason(number) == "no agent is enabled"
    await crew.connection.execute("update agent set enabled = true, max_parallel = 1; update agent_slot set task = 99")
    assert await crew.reason(number) == "every agent is full"


async def test_a_task_in_line_knows_its_place_across_lanes(crew: Crew) -> None:
    await crew.engine()
    urgent, named, normal = await crew.add(priority=5), await crew.add(agent="coder"), await crew.add()
    last = await crew.add(priority=1)
    assert await crew.reason(urgent) == "ready: it is next in project app"
    assert await crew.reason(named) == "ready: 1 task is before it in project app"
    assert await crew.reason(normal) == "ready: 2 tasks are before it in project app"
    assert await crew.reason(last) == "ready: 3 tasks are before it in project app"
    for _ in range(102):
        await crew.add(priority=4)
    assert await crew.reason(last) == "ready: over 100 tasks are before it in project app"


async def test_what_is_running_or_done_needs_no_reason(crew: Crew) -> None:
    number = await crew.add()
    await crew.begin(number)
    assert (await crew.do("task.show", task=number)).reason is None
    await crew.end(number)
    assert (await crew.do("task.show", task=number)).reason is None
