"""Everything that Quarterdeck does, without a screen."""

VERSION = "0.1.0"
"""Of the program. Written here beside the project's metadata, because reading that takes longer than all else at a start."""


def version() -> str:
    """The version of the program."""
    return VERSION
