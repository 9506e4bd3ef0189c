"""Which project a folder belongs to: so that nobody has to name the project in which they stand."""

from collections.abc import Mapping
from pathlib import Path


def project_at(folder: Path, projects: Mapping[str, str], worktrees: Path) -> str | None:
    """The registered project in whose repository, or in one of whose worktrees, ``folder`` lies; None: in none.

    ``projects``: path of the repository by id. A repository within another one wins over it. Links are followed.
    """
    here = folder.resolve()
    found: tuple[int, str] | None = None
    for project, path in projects.items():
        for root in (Path(path).resolve(), (worktrees / project).resolve()):
            if here.is_relative_to(root) and (found is None or len(root.parts) > found[0]):
                found = (len(root.parts), project)
    return found[1] if found else None
