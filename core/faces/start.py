"""The entry of `qd`: nothing heavy is loaded here, so that `qd --version` answers at once."""

import gc
import os
import sys
from typing import Any


def main() -> int:
    """Run `qd` with the arguments of this process; returns its exit code."""
    _fill_streams()
    os.umask(os.umask(0o077) | 0o002)  # whatever the caller's is: what we make is never the whole world's to change
    if sys.argv[1:] in (["--version"], ["-V"]):
        from core import VERSION

        print(f"qd {VERSION}")
        return 0
    _check_rooms()
    try:
        gc.disable()  # what is loaded now stays: a collector that walks it over and over finds nothing
        from core.faces.cli import main as run_cli

        gc.enable()
        return run_cli(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


def _fill_streams() -> None:
    """Put the null device in the place of streams that the caller has closed: no file of ours may become one of them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - as long as the process; pathlib takes 3 ms


def screen() -> Any:
    """The room of the screen, which stands above this one: looked up by its name, so that only who opens it loads it."""
    from importlib import import_module

    return import_module("tui.start")


def replay() -> Any:
    """The part of the screen that plays recordings, as :func:`screen`."""
    from importlib import import_module

    return import_module("tui.replay")


def server() -> Any:
    """The part of the screen that serves browsers, as :func:`screen`."""
    from importlib import import_module

    return import_module("tui.serve")


def _check_rooms() -> None:
    """End with a sentence when somebody else's `config` or `storage` stands in the place of ours."""
    import config
    import storage

    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH120, PTH100 - pathlib takes 3 ms
    for room in (config, storage):
        where = getattr(room, "__file__", None) or ", ".join(getattr(room, "__path__", ["nowhere"]))
        if not where.startswith(root + os.sep):
            print(
                f"qd: the module {room.__name__} was loaded from {where}, not from Quarterdeck; "
                "unset PYTHONPATH, and start qd outside of that folder",
                file=sys.stderr,
            )
            sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
