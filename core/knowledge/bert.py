"""Writes the weights of a BERT encoder, as they are published (safetensors), as the ONNX graph that is run here.

Formats: safetensors (https://huggingface.co/docs/safetensors), ONNX (onnx/onnx.proto, IR 8, opset 17). The few messages that are
needed are written by hand, so that installing a model needs no package that running it does not.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from config.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

_FLOAT, _INT64 = 1, 7
_EPSILON = 1e-12
_HIDDEN_BY_MASK = -10000.0


def onnx_of(weights: bytes, config: Mapping[str, Any]) -> bytes:
    """The graph: ``input_ids`` and ``attention_mask`` (batch × tokens) in, ``last_hidden_state`` out.

    Raises UsageError where the weights are not those of a BERT encoder with the exact GELU.
    """
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise UsageError("the model is no BERT encoder", "give a folder with model.onnx and tokenizer.json")
    try:
        return _Graph(_tensors(weights)).encoder(int(config["num_hidden_layers"]), int(config["num_attention_heads"]))
    except (KeyError, ValueError, struct.error) as error:
        raise UsageError(f"the weights of the model cannot be read: {error!r}", "get the model again") from error


def _tensors(data: bytes) -> dict[str, "np.ndarray[Any, Any]"]:
    import numpy as np

    (length,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + length])
    found = {}
    for name, about in head.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            start, end = (8 + length + offset for offset in about["data_offsets"])
            found[name.removeprefix("bert.")] = np.frombuffer(data[start:end], dtype="<f4").reshape(about["shape"])
    return found


class _Graph:
    """Nodes and constants as they are added; each node's output is called by its number."""

    def __init__(self, tensors: Mapping[str, "np.ndarray[Any, Any]"]) -> None:
        self._tensors = tensors
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def encoder(self, layers: int, heads: int) -> bytes:
        """The whole model, from tokens to the last layer."""
        width = self._tensors["embeddings.word_embeddings.weight"].shape[1]
        state = self._add("Gather", [self._weight("embeddings.word_embeddings.weight"), "input_ids"])
        length = self._add("Shape", ["input_ids"], start=1, end=2)
        positions = self._weight("embeddings.position_embeddings.weight")
        state = self._add("Add", [state, self._add("Slice", [positions, self._ints([0]), length, self._ints([0])])])
        kind = self._floats("kind", self._tensors["embeddings.token_type_embeddings.weight"][0])
        state = self._normal(self._add("Add", [state, kind]), "embeddings.LayerNorm")
        seen = self._add("Unsqueeze", [self._add("Cast", ["attention_mask"], to=_FLOAT), self._ints([1, 2])])
        hidden = self._add("Mul", [self._add("Sub", [self._number(1.0), seen]), self._number(_HIDDEN_BY_MASK)])
        for layer in range(layers):
            state = self._layer(state, hidden, f"encoder.layer.{layer}", heads, width)
        return self._model(state)

    def _layer(self, state: str, hidden: str, name: str, heads: int, width: int) -> str:
        split, joined = self._ints([0, 0, heads, width // heads]), self._ints([0, 0, width])

        def part(which: str, order: list[int]) -> str:
            made = self._dense(state, f"{name}.attention.self.{which}")
            return self._add("Transpose", [self._add("Reshape", [made, split])], perm=order)

        scores = self._add("MatMul", [part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1])])
        scores = self._add("Mul", [scores, self._number(1 / math.sqrt(width // heads))])
        shares = self._add("Softmax", [self._add("Add", [scores, hidden])], axis=-1)
        told = self._add("Transpose", [self._add("MatMul", [shares, part("value", [0, 2, 1, 3])])], perm=[0, 2, 1, 3])
        told = self._dense(self._add("Reshape", [told, joined]), f"{name}.attention.output.dense")
        state = self._normal(self._add("Add", [told, state]), f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self._dense(state, f"{name}.intermediate.dense"))
        outer = self._dense(inner, f"{name}.output.dense")
        return self._normal(self._add("Add", [outer, state]), f"{name}.output.LayerNorm")

    def _gelu(self, value: str) -> str:
        error = self._add("Erf", [self._add("Mul", [value, self._number(1 / math.sqrt(2))])])
        share = self._add("Mul", [self._add("Add", [error, self._number(1.0)]), self._number(0.5)])
        return self._add("Mul", [value, share])

    def _dense(self, value: str, name: str) -> str:
        weight = self._floats(f"{name}.weight", self._tensors[f"{name}.weight"].T)
        return self._add("Add", [self._add("MatMul", [value, weight]), self._weight(f"{name}.bias")])

    def _normal(self, value: str, name: str) -> str:
        scale, shift = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._add("LayerNormalization", [value, scale, shift], axis=-1, epsilon=_EPSILON)

    def _weight(self, name: str) -> str:
        return self._floats(name, self._tensors[name])

    def _floats(self, name: str, values: "np.ndarray[Any, Any]") -> str:
        import numpy as np

        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        return self._constant(name, values.shape, _FLOAT, raw)

    def _number(self, value: float) -> str:
        return self._constant(f"number.{value!r}", (), _FLOAT, struct.pack("<f", value))

    def _ints(self, values: Sequence[int]) -> str:
        name = "ints." + ".".join(map(str, values))
        return self._constant(name, (len(values),), _INT64, struct.pack(f"<{len(values)}q", *values))

    def _constant(self, name: str, shape: Sequence[int], kind: int, raw: bytes) -> str:
        if name not in self._constants:
            head = b"".join(_integer(1, size) for size in shape) + _integer(2, kind) + _text(8, name)
            self._constants[name] = head + _bytes(9, raw)
        return name

    def _add(self, operator: str, inputs: Sequence[str], **attributes: int | float | list[int]) -> str:
        output = f"n{len(self._nodes)}"
        fields = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator)
        self._nodes.append(fields + b"".join(_bytes(5, _attribute(*pair)) for pair in attributes.items()))
        return output

    def _model(self, last: str) -> bytes:
        self._nodes.append(_text(1, last) + _text(2, "last_hidden_state") + _text(4, "Identity"))
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _text(2, "encoder")
        graph += b"".join(_bytes(5, constant) for constant in self._constants.values())
        graph += _bytes(11, _value("input_ids", _INT64, ["batch", "tokens"]))
        graph += _bytes(11, _value("attention_mask", _INT64, ["batch", "tokens"]))
        graph += _bytes(12, _value("last_hidden_state", _FLOAT, ["batch", "tokens", "width"]))
        return _integer(1, 8) + _text(2, "quarterdeck") + _bytes(7, graph) + _bytes(8, _text(1, "") + _integer(2, 17))


def _attribute(name: str, value: int | float | list[int]) -> bytes:
    if isinstance(value, list):
        return _text(1, name) + b"".join(_integer(8, one) for one in value) + _integer(20, 7)
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _integer(20, 1)
    return _text(1, name) + _integer(3, value) + _integer(20, 2)


def _value(name: str, kind: int, shape: Sequence[str]) -> bytes:
    dims = b"".join(_bytes(1, _text(2, size)) for size in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _integer(1, kind) + _bytes(2, dims)))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _integer(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
