"""Models on this machine: a folder each, whose files are pinned by their hashes when they are installed.

A model is an ONNX graph (``model.onnx``) and its tokenizer (``tokenizer.json``, in the format of the package
`tokenizers`). What was changed
on the disk since it was installed is not loaded.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from config.paths import Paths

FILES = ("model.onnx", "tokenizer.json")
_MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PLACES = ("", "onnx/")


@dataclass(frozen=True, slots=True)
class Model:
    """An installed model; ``identity`` changes with every byte of its files."""

    name: str
    folder: Path
    hashes: Mapping[str, str]
    dims: int

    @property
    def identity(self) -> str:
        """By which vectors are known to be of this very model."""
        digest = hashlib.sha256(json.dumps(dict(self.hashes), sort_keys=True).encode()).hexdigest()
        return f"{self.name}:{digest[:16]}"


def install(paths: Paths, source: Path, name: str | None = None) -> Model:
    """Copy a model from a folder, try it, and pin its files.

    Raises UsageError where the folder holds no model, ConflictError where another model has its name.
    """
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

        dims = len(OnnxModel(scratch).embed(["harbour"])[0])
        (scratch / _MANIFEST).write_text(json.dumps({"name": called, "dims": dims, "files": hashes}, indent=1), "utf-8")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Model(called, target, hashes, dims)


def load(paths: Paths, name: str) -> Model:
    """An installed model. Raises NotFoundError, and UnavailableError where its files are not those that were
    installed.
    """
    folder = _root(paths) / name
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        model = Model(manifest["name"], folder, manifest["files"], int(manifest["dims"]))
    except (OSError, ValueError, KeyError) as error:
        raise NotFoundError(f"there is no model {name} here", "see `qd knowledge model install --help`") from error
    for file, expected in model.hashes.items():
        path = folder / file
        if not path.is_file() or _sha256(path) != expected:
            raise UnavailableError(f"{path} is not the file that was installed", "install the model again")
    return model


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
