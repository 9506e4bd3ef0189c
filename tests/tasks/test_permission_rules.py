"""What is always allowed reaches as far as the person meant and no further."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.queries.permissions import allows, rule_for


def shell(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("npm test -- --watch=false", "Bash: npm test"),
        ("git push origin main", "Bash: git push"),
        ("pytest -q tests", "Bash: pytest"),
        ("ls", "Bash: ls"),
        ("git -c alias.x=!sh push", "Bash = git -c alias.x=!sh push"),
        ("git", "Bash = git"),
        ("rm -rf build", "Bash = rm -rf build"),
        ("/bin/bash -c ls", "Bash = /bin/bash -c ls"),
        ("make && ls", "Bash = make && ls"),
        ("echo $(id)", "Bash = echo $(id)"),
        ("PATH=. ls", "Bash = PATH=. ls"),
        ("echo 'open", "Bash = echo 'open"),
    ],
)
def test_the_rule_is_the_command_s_first_words_or_all_of_it(command: str, rule: str) -> None:
    assert rule_for(shell(command)) == rule
    assert allows(rule, shell(command))


def test_another_tool_is_allowed_as_a_whole() -> None:
    asked = {"tool": "Edit", "input": {"file_path": "/x"}}
    assert rule_for(asked) == "Edit"
    assert allows("Edit", asked)
    assert allows("Edit", {"tool": "Edit", "input": {}})
    assert not allows("Edit", {"tool": "Write", "input": {}})


def test_the_name_of_a_tool_does_not_allow_its_shell_commands() -> None:
    assert not allows("Bash", shell("ls"))


def test_a_question_without_a_tool_has_no_rule() -> None:
    assert rule_for({}) is None
    assert rule_for({"tool": 7}) is None
    assert not allows("", {})


@given(st.text("ab;&|<>`$(){}\n\r#!*?[]~\\'\" ", min_size=1))
def test_no_beginning_allows_a_second_command(rest: str) -> None:
    command = f"npm test{rest}"
    if allows("Bash: npm test", shell(command)):
        assert not set(rest) & set(";&|<>`$(){}\n\r#!*?[]~\\")


@given(st.text(max_size=30))
def test_a_rule_allows_at_least_what_it_was_made_from(command: str) -> None:
    rule = rule_for(shell(command))
    assert rule is not None
    assert allows(rule, shell(command))
