"""What a person has written and nobody took: it is kept, and the next time goes on with it."""

from collections.abc import Iterator
from contextlib import contextmanager

from config.errors import QuarterdeckError


class Drafts:
    """Texts by what they were written for, such as ``run.send #42``. Gone with the screen."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def take(self, name: str) -> str:
        """What was kept, which is given out once; empty where nothing was."""
        return self._texts.pop(name, "")

    def keep(self, name: str, text: str, error: QuarterdeckError, keys: str) -> None:
        """Keep a text that was not taken, and have the error say so; ``keys`` goes on with it."""
        if text.strip():
            self._texts[name] = text
            more = f"what you wrote is kept: {keys} goes on with it" if keys else "what you wrote is kept"
            error.hint = f"{error.hint}; {more}" if error.hint else more

    @contextmanager
    def keeping(self, name: str, text: str, keys: str) -> Iterator[None]:
        """Keep a text where what is done with it fails."""
        try:
            yield
        except QuarterdeckError as error:
            self.keep(name, text, error, keys)
            raise
