"""The table of states is complete and says what the documents say."""

from core.tasks.states import BEGINNINGS, ENDED, OUT_OF_HANDS, TRANSITIONS, By, TaskStatus, may_become


def test_every_state_can_be_reached() -> None:
    reached = set(BEGINNINGS)
    while True:
        more = reached | {after for before, after in TRANSITIONS if before in reached}
        if more == reached:
            break
        reached = more
    assert reached == set(TaskStatus)


def test_every_state_but_completed_can_be_left() -> None:
    assert {before for before, _ in TRANSITIONS} == set(TaskStatus) - {TaskStatus.COMPLETED}


def test_only_an_engine_begins_work_and_only_from_pending() -> None:
    into = {before: by for (before, after), by in TRANSITIONS.items() if after is TaskStatus.IN_PROGRESS}
    assert into == {TaskStatus.PENDING: {By.ENGINE}}


def test_what_has_ended_is_begun_anew_by_people_alone() -> None:
    for before in ENDED - {TaskStatus.COMPLETED}:
        assert may_become(before, TaskStatus.PENDING, By.PERSON)
        assert not may_become(before, TaskStatus.PENDING, By.ENGINE)
        assert not may_become(before, TaskStatus.PENDING, By.TIMER)


def test_a_review_is_out_of_the_crew_s_hands() -> None:
    assert {TaskStatus.REVIEW} == OUT_OF_HANDS - ENDED
