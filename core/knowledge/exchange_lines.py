"""One line of an export, checked: what it may hold, and in words what is wrong with it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.knowledge.secrets import redact
from storage.queries.knowledge import Kind, State

FORMAT = 1
LONGEST = 1_000_000
"""Characters of one text."""


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL")
    return redact(text)


def _time(at: datetime) -> datetime:
    if not 1970 <= at.year <= 9000:
        raise ValueError("is out of range")
    return at.astimezone(UTC)


Text = Annotated[str, Field(max_length=LONGEST), AfterValidator(_text)]
Name = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_text)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Names = Annotated[list[Annotated[str, Field(max_length=500), AfterValidator(_text)]], Field(max_length=1000)]
Time = Annotated[AwareDatetime, AfterValidator(_time)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class PatternPart(_Part):
    """The columns of a pattern."""

    slug: Slug
    category: Text = "general"
    projects: Names = []
    stacks: Names = []
    description: Text = ""
    template: Annotated[Text, Field(min_length=1)]
    example: Text | None = None


class DecisionPart(_Part):
    """The columns of a decision."""

    type: Text = "approach"
    question: Annotated[Text, Field(min_length=1)]
    chosen: Text
    alternatives: Annotated[list[Text], Field(max_length=1000)] = []
    reasoning: Text = ""
    outcome: Literal["success", "partial", "failed", "reverted"] | None = None
    outcome_note: Text | None = None
    lesson: Text | None = None
    repeat: bool = True
    pull_request: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    feedback: Text | None = None
    resolved_at: Time | None = None


class LessonPart(_Part):
    """The columns of a lesson. Without a ``signature`` it is known by its error."""

    type: Text = "other"
    error: Annotated[Text, Field(min_length=1)]
    context: Text = ""
    command: Text | None = None
    fix: Text | None = None
    worked: bool | None = None
    rule: Text | None = None
    signature: UUID | None = None


PARTS: Mapping[str, type[_Part]] = {"pattern": PatternPart, "decision": DecisionPart, "lesson": LessonPart}


class Line(_Part):
    """An item that people, runs or agents have said. ``details``: the columns of its kind."""

    format: int = FORMAT
    id: UUID
    category: Kind
    project: Slug | None = None
    title: Name
    content: Text
    source: Text = ""
    origin: Literal["person", "agent", "gate", "run", "review", "pull_request", "import", "consolidation"] = "import"
    state: State = "active"
    path: Text | None = None
    note: Text | None = None
    doubt: Text | None = None
    cold: bool = False
    uses: Count = 0
    wins: Count = 0
    tags: Names = []
    valid_from: Time | None = None
    invalid_at: Time | None = None
    last_used_at: Time | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    superseded_by: UUID | None = None
    replaces: UUID | None = None
    details: Annotated[dict[str, Any] | None, Field(validate_default=True)] = None

    @model_validator(mode="after")
    def _whole(self) -> "Line":
        if self.format > FORMAT:
            raise ValueError(f"it has format {self.format}, this program knows {FORMAT}")
        if self.wins > self.uses:
            raise ValueError(f"it was told {self.uses} times and helped {self.wins} times")
        self.updated_at = self.updated_at or self.created_at
        if self.updated_at is None:
            raise ValueError("it does not say when it was changed last")
        if self.state in ("active", "proposed"):
            self.invalid_at = None
        else:
            self.invalid_at = self.invalid_at or self.updated_at
        part = PARTS.get(self.category)
        if part is None:
            self.details = None
        elif self.details is None:
            raise ValueError(f"a {self.category} has details")
        else:
            self.details = part.model_validate(self.details).model_dump(exclude_unset=True)
        return self


def read(line: Any) -> Line:
    """A line as an item. Raises ValueError saying which field is wrong, and how."""
    try:
        return Line.model_validate(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        words = words[:1].lower() + words[1:]
        raise ValueError(f"{field}: {words}" if field else words) from None
