"""Brings the schema of a database to what this version of the program needs.

Safe to run by any number of processes at once: an advisory lock lets one of them work while the others wait.
A database that is *newer* than the program is refused, since an old program could spoil it.
"""

from importlib.resources import as_file, files

import asyncpg

from core_errors import UnavailableError  # placeholder
