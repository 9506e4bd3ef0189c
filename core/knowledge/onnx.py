"""Runs an embedding model on this machine: mean of the last layer over the tokens, length one.

Needs the extra `embedding` (onnxruntime, tokenizers, numpy), which nothing else does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config.errors import UnavailableError

BATCH = 8
"""Texts at a time: with :data:`TOKENS` each, MiniLM stays below 230 MB."""
TOKENS = 256
"""Of a text at most, the rest is not seen by the model."""


class OnnxModel:
    """A model in a folder with ``model.onnx`` and ``tokenizer.json``. Loading it takes about half a second. ``tokens``: of a text,
    as many as it has positions for (:meth:`positions`).
    """

    def __init__(self, folder: Path, tokens: int = TOKENS) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UnavailableError(
                f"embedding on this machine needs the package {error.name}",
                "install Quarterdeck with its extra: pip install 'quarterdeck[embedding]'",
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise UnavailableError(f"the model in {folder} cannot be loaded: {error}", "install another one") from error
        self._tokenizer.enable_truncation(tokens)
        self._tokenizer.no_padding()
        self._inputs = {item.name for item in self._session.get_inputs()}

    def positions(self) -> int:
        """For how many tokens it has positions, up to :data:`TOKENS`. No file says so for every model: it is tried out."""
        least, most = 0, TOKENS
        while least < most:
            middle = most if least == 0 and most == TOKENS else (least + most + 1) // 2
            if self._takes(middle):
                least = middle
            else:
                most = middle - 1
        if least < 3:
            raise UnavailableError("the model takes no text", "install another one")
        return least

    def _takes(self, tokens: int) -> bool:
        import numpy as np
        import onnxruntime

        quiet = onnxruntime.RunOptions()
        quiet.log_severity_level = 4
        ids = np.zeros((1, tokens), dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids}
        try:
            self._session.run(None, {name: given[name] for name in self._inputs}, quiet)
        except Exception:  # noqa: BLE001 - the library raises bare exceptions of its own
            return False
        return True

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length one for each text, the short ones put together. Blocks: about 3 ms a query, 400 short texts/s for MiniLM."""
        import numpy as np

        encoded = self._tokenizer.encode_batch([text or " " for text in texts])
        order = sorted(range(len(texts)), key=lambda at: len(encoded[at].ids))
        vectors: list[list[float]] = [[] for _ in texts]
        for start in range(0, len(texts), BATCH):
            batch = order[start : start + BATCH]
            longest = len(encoded[batch[-1]].ids)
            for at in batch:
                encoded[at].pad(longest)
            ids = np.array([encoded[at].ids for at in batch], dtype=np.int64)
            mask = np.array([encoded[at].attention_mask for at in batch], dtype=np.int64)
            given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            last = self._session.run(None, {name: given[name] for name in self._inputs})[0]
            if last.ndim == 3:
                weights = mask[:, :, None].astype(last.dtype)
                last = (last * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
            length = np.maximum(np.linalg.norm(last, axis=1, keepdims=True), 1e-12)
            for at, row in zip(batch, last / length, strict=True):
                vectors[at] = [float(value) for value in row]
        return vectors
