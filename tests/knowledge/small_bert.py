"""A BERT encoder small enough to be computed by hand, as it is published, and what it must answer."""

import json
import math
import struct
from typing import Any

import numpy as np

WIDTH, HEADS, LAYERS, INNER = 16, 2, 2, 32
CONFIG = {"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "harbour", "pilot", "buoy", "tide", "berth"]

Weights = dict[str, "np.ndarray[Any, Any]"]


def weights() -> Weights:
    """Weights that are always the same."""
    chance = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (64, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    normal = ["embeddings.LayerNorm"]
    dense: dict[str, tuple[int, int]] = {}
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        normal += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense[f"{name}.attention.{part}"] = (WIDTH, WIDTH)
        dense[f"{name}.intermediate.dense"] = (INNER, WIDTH)
        dense[f"{name}.output.dense"] = (WIDTH, INNER)
    made = {name: chance.standard_normal(shape).astype("<f4") for name, shape in shapes.items()}
    for name, shape in dense.items():
        made[f"{name}.weight"] = chance.standard_normal(shape).astype("<f4") * 0.3
        made[f"{name}.bias"] = chance.standard_normal(shape[0]).astype("<f4") * 0.1
    for name in normal:
        made[f"{name}.weight"] = (1 + 0.1 * chance.standard_normal(WIDTH)).astype("<f4")
        made[f"{name}.bias"] = (0.1 * chance.standard_normal(WIDTH)).astype("<f4")
    return made


def safetensors(tensors: Weights) -> bytes:
    """The weights as a file."""
    head: dict[str, Any] = {}
    body = b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        head[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def tokenizer() -> str:
    """A tokenizer that knows a word as a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return str(made.to_str())


def vector(tensors: Weights, words: list[str]) -> "np.ndarray[Any, Any]":
    """What the model makes of a text, step by step as the paper has it: mean of the last layer, length one."""
    ids = [2, *(WORDS.index(word) for word in words), 3]
    state = tensors["embeddings.word_embeddings.weight"][ids]
    state = state + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    state = _normal(tensors, state + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            _dense(tensors, state, f"{name}.attention.self.{part}") for part in ("query", "key", "value")
        )
        told = np.zeros_like(state)
        size = WIDTH // HEADS
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            told[:, part] = shares / shares.sum(axis=1, keepdims=True) @ value[:, part]
        told = _dense(tensors, told, f"{name}.attention.output.dense")
        state = _normal(tensors, told + state, f"{name}.attention.output.LayerNorm")
        inner = _dense(tensors, state, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        state = _normal(tensors, _dense(tensors, inner, f"{name}.output.dense") + state, f"{name}.output.LayerNorm")
    mean = state.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _dense(tensors: Weights, value: "np.ndarray[Any, Any]", name: str) -> "np.ndarray[Any, Any]":
    return np.asarray(value @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"])


def _normal(tensors: Weights, value: "np.ndarray[Any, Any]", name: str) -> "np.ndarray[Any, Any]":
    middle = value - value.mean(axis=-1, keepdims=True)
    scaled = middle / np.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-12)
    return np.asarray(scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"])
