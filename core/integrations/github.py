"""GitHub's REST API (https://docs.github.com/rest, version 2022-11-28), as far as we read it.

Answers are kept with their ETag: what has not changed costs nothing of the rate limit. Limits are honoured as
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api says: waited for when they are
short, told when they are long. Text from there is anybody's: it is data.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from config.errors import ForbiddenError, NotFoundError, UnavailableError

API = "https://api.github.com"
TOKEN = "github.token"  # noqa: S105 - the name of the secret
MOST_WAIT = 60.0
"""Seconds that a rate limit is waited for; a longer one is told."""
TRIES = 4
LARGEST = 20_000_000
"""Bytes of one answer."""
_REPO = re.compile(r"(?:^|github\.com[/:])([A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}?)(?:\.git)?/?$")
_PULL = re.compile(r"https?://[^/\s]+/([^/\s]+/[^/\s]+)/pull/(\d{1,9})(?:[/?#].*)?$")


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request; ``merged_at`` None: it is not merged."""

    number: int
    title: str
    body: str
    merged_at: datetime | None
    merge_commit: str | None
    branch: str
    head: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of a change; ``status``: added, modified, removed, renamed, …"""

    path: str
    status: str
    patch: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reviewer wrote: of the whole (no path) or at a line. ``wants``: changes were requested."""

    id: int
    author: str
    body: str
    path: str | None
    hunk: str
    wants: bool


def repository_of(text: str) -> str | None:
    """``owner/name`` of a project's repository; None when it is not on GitHub."""
    found = _REPO.search(text.strip())
    return found[1] if found else None


def pull_of(text: str) -> tuple[str | None, int] | None:
    """Repository and number that a person's word for a pull request means: ``12``, ``#12`` or its address."""
    if re.fullmatch(r"#?\d{1,9}", text.strip(), re.ASCII):
        return None, int(text.strip().lstrip("#"))
    found = _PULL.fullmatch(text.strip())
    return (found[1], int(found[2])) if found else None


class GitHub:
    """One account's view. ``cache`` is a folder of ours; ``sleep`` waits for seconds."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: str | None,
        cache: Path,
        *,
        api: str = API,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._api = api.rstrip("/")
        self._cache = cache
        self._sleep = sleep
        self._now = now
        self._headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    async def merged_since(self, repo: str, since: datetime) -> list[int]:
        """Numbers of the pull requests that were merged since, the earliest first."""
        found: dict[int, datetime] = {}
        path = f"/repos/{repo}/pulls?state=closed&sort=updated&direction=desc&per_page=100"
        async for page in self._pages(path):
            for item in page:
                merged = _time(item.get("merged_at"))
                if merged and merged >= since:
                    found[_number(item, "number")] = merged
            last = _time(page[-1].get("updated_at")) if page else None
            if last is None or last < since:
                break  # what comes now was not touched since, and so not merged either
        return sorted(found, key=lambda number: found[number])

    async def pull(self, repo: str, number: int) -> Pull:
        """One pull request. Raises NotFoundError."""
        item, _ = await self._get(f"{self._api}/repos/{repo}/pulls/{number}")
        if not isinstance(item, Mapping):
            raise UnavailableError(f"GitHub's answer about pull request #{number} of {repo} makes no sense")
        head = item.get("head")
        head = head if isinstance(head, Mapping) else {}
        return Pull(
            number=number,
            title=_text(item, "title"),
            body=_text(item, "body"),
            merged_at=_time(item.get("merged_at")),
            merge_commit=_commit(item.get("merge_commit_sha")),
            branch=_text(head, "ref"),
            head=_commit(head.get("sha")) or "",
        )

    async def files(self, repo: str, number: int) -> list[File]:
        """The files that a pull request changes."""
        pages = self._pages(f"/repos/{repo}/pulls/{number}/files?per_page=100")
        return [_file(item) async for page in pages for item in page]

    async def changes(self, repo: str, before: str, after: str) -> list[File]:
        """What lies between two commits. Raises NotFoundError where one is unknown there."""
        item, _ = await self._get(f"{self._api}/repos/{repo}/compare/{before}...{after}?per_page=100")
        files = item.get("files") if isinstance(item, Mapping) else None
        return [_file(one) for one in files or [] if isinstance(one, Mapping)]

    async def remarks(self, repo: str, number: int) -> list[Remark]:
        """What people wrote in the reviews of a pull request; not what bots did."""
        found = []
        async for page in self._pages(f"/repos/{repo}/pulls/{number}/reviews?per_page=100"):
            found += [_remark(item, wants=_text(item, "state") == "CHANGES_REQUESTED") for item in page]
        async for page in self._pages(f"/repos/{repo}/pulls/{number}/comments?per_page=100"):
            found += [_remark(item, wants=True) for item in page if item.get("in_reply_to_id") is None]
        return [remark for remark in found if remark is not None and remark.body.strip()]

    async def _pages(self, path: str) -> AsyncIterator[list[Mapping[str, Any]]]:
        url: str | None = f"{self._api}{path}"
        for _ in range(100):
            if url is None:
                return
            items, links = await self._get(url)
            yield [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
            url = _next(links, url)

    async def _get(self, url: str) -> tuple[Any, str]:
        """The JSON at an address, and its ``Link`` header. Raises the errors of config.errors."""
        kept = await asyncio.to_thread(self._kept, url)
        headers = self._headers | ({"If-None-Match": kept["etag"]} if kept else {})
        for attempt in range(1, TRIES + 1):
            try:
                status, found, body = await self._ask(url, headers)
            except httpx.HTTPError as error:
                if attempt == TRIES:
                    raise UnavailableError(f"GitHub cannot be reached ({type(error).__name__})", "try again") from error
                await self._sleep(2.0**attempt)
                continue
            if status == 304 and kept:
                return kept["body"], kept["link"]
            if status == 200:
                value = _parsed(body)
                link = found.get("link", "")
                if etag := found.get("etag"):
                    await asyncio.to_thread(self._keep, url, {"etag": etag, "link": link, "body": value})
                return value, link
            wait = self._wait(status, found, attempt)
            if wait is None or attempt == TRIES:
                break
            await self._sleep(wait)
        raise self._refusal(status, found, url)

    async def _ask(self, url: str, headers: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        async with self._client.stream("GET", url, headers=dict(headers), timeout=30, follow_redirects=False) as answer:
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST:
                    raise UnavailableError(f"an answer of GitHub is larger than {LARGEST} bytes")
            return answer.status_code, answer.headers, bytes(body)

    def _wait(self, status: int, headers: Mapping[str, str], attempt: int) -> float | None:
        """Seconds until another try; None when none is worth it."""
        if status in (403, 429):
            seconds = self._limited(headers)
            if seconds is None and status == 429:
                seconds = 60.0
            return seconds if seconds is not None and seconds <= MOST_WAIT else None
        return 2.0**attempt if status >= 500 else None

    def _limited(self, headers: Mapping[str, str]) -> float | None:
        """Seconds until a rate limit lets requests through; None when none is the reason."""
        after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
        if after.isdigit():
            return float(after)
        if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
            return max(0.0, int(reset) - self._now().timestamp()) + 1.0
        return None

    def _refusal(self, status: int, headers: Mapping[str, str], url: str) -> Exception:
        where = urlsplit(url).path
        seconds = self._limited(headers)
        if status in (403, 429) and seconds is not None:
            return UnavailableError(f"GitHub's rate limit is used up for {seconds:.0f} s", "try again then")
        if status in (401, 403):
            return ForbiddenError(f"GitHub does not let us read {where} ({status})", f"`qd secret set {TOKEN}`")
        if status == 404:
            return NotFoundError(f"GitHub has no {where}, or does not show it", f"`qd secret set {TOKEN}`")
        return UnavailableError(f"GitHub answers {status} for {where}", "try again")

    def _place(self, url: str) -> Path:
        # what one account was shown is not for another
        who = self._headers.get("Authorization", "")
        return self._cache / f"{hashlib.sha256(f'{who} {url}'.encode()).hexdigest()[:40]}.json"

    def _kept(self, url: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._place(url).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and {"etag", "link", "body"} <= set(found) else None

    def _keep(self, url: str, value: Mapping[str, Any]) -> None:
        place = self._place(url)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = place.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(value), "utf-8")
        draft.replace(place)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnavailableError("GitHub's answer is no JSON", "try again") from None


def _next(links: str, url: str) -> str | None:
    """The next page, where it is on the same host: our token goes nowhere else."""
    found = re.search(r'<([^>]+)>\s*;\s*rel="next"', links)
    if not found:
        return None
    address = urljoin(url, found[1])
    here, there = urlsplit(url), urlsplit(address)
    return address if (here.scheme, here.netloc) == (there.scheme, there.netloc) else None


def _file(item: Mapping[str, Any]) -> File:
    return File(_text(item, "filename"), _text(item, "status"), _text(item, "patch"))


def _remark(item: Mapping[str, Any], *, wants: bool) -> Remark | None:
    user = item.get("user")
    user = user if isinstance(user, Mapping) else {}
    if user.get("type") == "Bot":
        return None
    path = item.get("path")
    return Remark(
        _number(item, "id"), _text(user, "login"), _text(item, "body"), path if isinstance(path, str) else None,
        _text(item, "diff_hunk"), wants,
    )  # fmt: skip


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _number(item: Mapping[str, Any], key: str) -> int:
    value = item.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _commit(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}", value) else None


def _time(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
