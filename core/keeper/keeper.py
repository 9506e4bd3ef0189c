"""The keeper: one tiny process around one agent, gate, setup or teardown command.

Started by path, so that nothing of the rest has to be loaded or even to exist for long::

    python -I -S …/core/keeper/keeper.py FOLDER [READY]

``FOLDER`` holds ``spec.json`` (read once, then deleted, for it carries the token of the run). The keeper leaves there:

==================  ====================================================================================
``keeper.lock``     its pid; locked (flock) for as long as it lives
``keeper.log``      what went wrong in the keeper itself; empty as a rule
``started.json``    ``pid`` of the agent, ``keeper_pid``, ``started_at``
``stdout.spool``    what the agent wrote, byte for byte
``stderr.spool``
``exit.json``       how it ended; written atomically, the last thing before the lock is released
==================  ====================================================================================

With ``READY``, the number of an inherited pipe, the keeper puts itself into the background and writes its pid to the
pipe as soon as ``started.json`` or ``exit.json`` is there. Without it it stays in the foreground.

This package's other modules are imported by the keeper as compiled files, which is quicker than compiling one long
script at every start. They use the standard library alone, and of it only what is quick to load.
"""

import os
import sys


def main(arguments: list[str]) -> int:
    """Keep the run whose folder is named until it has ended; returns the exit code of the keeper itself."""
    folder = os.path.abspath(arguments[0])
    ready = int(arguments[1]) if len(arguments) > 1 else -1
    if ready >= 0 and os.fork():
        # The starter's child ends here, the keeper belongs to init: an engine that starts thousands of runs has
        # nothing to reap later, and one that is killed changes nothing for the keeper.
        os._exit(0)
    try:
        os.setsid()
    except PermissionError:
        pass  # started as the leader of a session of its own already
    _close_all_but(ready)
    os.chdir(folder)
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from core.keeper.watch import keep

    return keep(ready)


def _close_all_but(ready: int) -> None:
    """Close what the starter had open, and keep the pipe to it from the agent."""
    try:
        files = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        files = list(range(256))
    for file in files:
        if file > 2 and file != ready:
            try:
                os.close(file)
            except OSError:
                continue
    if ready >= 0:
        os.set_inheritable(ready, False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
