"""Sends one alert through ``apprise`` and ends: a process of its own, for its memory and for whatever a destination
does to it.

Stdin: a JSON object with ``urls``, ``title`` and ``body``. Stdout: a line for each destination as soon as it has taken it, with
its place in the list; one that hangs or fails keeps no other from hearing of it. Nothing else is printed: an address
holds a password, and libraries log addresses.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed


def main() -> Iterator[int]:
    """Send what stdin asks for; the places of those who took it."""
    logging.disable(logging.CRITICAL)
    wish = json.load(sys.stdin)
    with ThreadPoolExecutor(len(wish["urls"])) as senders:
        sent = {senders.submit(_send, url, wish["title"], wish["body"]): n for n, url in enumerate(wish["urls"])}
        for one in as_completed(sent):
            if one.exception() is None and one.result():
                yield sent[one]


def _send(url: str, title: str, body: str) -> bool:
    from apprise import Apprise, NotifyType

    told = Apprise()
    return bool(told.add(url) and told.notify(title=title, body=body, notify_type=NotifyType.WARNING))


if __name__ == "__main__":
    out, silent = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    for place in main():
        os.write(out, b"%d\n" % place)
