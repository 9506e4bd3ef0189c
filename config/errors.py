"""What can go wrong, in the words that a person is given.

Every failure that a caller can act on is a :class:`QuarterdeckError`. It says what happened and to which value
(``message``) and what to do about it (``hint``). Faces translate it in one place each: the command line into an exit
code, HTTP into a status, the screen into a toast. Anything else that escapes is a bug. The hierarchy lives in the
lowest room because every room raises it.
"""

from typing import ClassVar


class QuarterdeckError(Exception):
    """It was tried and failed. Base of all errors that a caller can act on."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def sentence(self) -> str:
        """The error in one line: what happened and, where there is one, the remedy."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(QuarterdeckError):
    """The command or one of its values is wrong."""

    code = "usage"
    exit_code = 2


class NotFoundError(QuarterdeckError):
    """There is no such thing."""

    code = "not_found"
    exit_code = 3


class ForbiddenError(QuarterdeckError):
    """The caller's role does not allow it."""

    code = "forbidden"
    exit_code = 4


class ConflictError(QuarterdeckError):
    """Not possible in the present state: completed already, a cycle, a name that exists."""

    code = "conflict"
    exit_code = 5


class UnavailableError(QuarterdeckError):
    """A part that is needed cannot be reached: the database, the engine, a git remote."""

    code = "unavailable"
    exit_code = 6


class DatabaseGoneError(UnavailableError):
    """The database does not answer, or cannot go on."""
