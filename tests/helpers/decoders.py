"""A text generator with two hundred weights, as a graph with state and in NumPy."""

import json

import numpy as np
import openvino as ov
from openvino import opset13 as ops

VOCABULARY, WIDTH, POSITIONS = 40, 8, 128
_rng = np.random.default_rng(5)
EMBEDDINGS = _rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
PLACES = _rng.standard_normal((POSITIONS, WIDTH)).astype(np.float32)
HEAD = _rng.standard_normal((WIDTH, VOCABULARY)).astype(np.float32)


def build_decoder(head=HEAD):
    """Return a graph: every token reads all tokens so far that are no padding."""
    ids, mask, positions = (
        ops.parameter([-1, -1], np.int64, name=name)
        for name in ("input_ids", "attention_mask", "position_ids")
    )
    beams = ops.parameter([-1], np.int32, name="beam_idx")
    tokens = ops.add(_rows(EMBEDDINGS, ids), _rows(PLACES, positions))
    batch = ops.gather(ops.shape_of(ids), ops.constant([0]), ops.constant(0))
    empty = ops.broadcast(
        ops.constant(np.float32(0)),
        ops.concat([batch, ops.subtract(batch, batch), ops.constant([WIDTH])], axis=0),
    )
    state = ops.read_value(empty, "cache", ov.Type.f32, ov.PartialShape([-1, -1, WIDTH]))
    before = ops.gather(state, beams, ops.constant(0))
    cache = ops.concat([before, tokens], axis=1)
    scores = ops.matmul(tokens, cache, transpose_a=False, transpose_b=True)
    seen = ops.convert(ops.unsqueeze(mask, ops.constant(1)), "f32")
    context = ops.matmul(ops.multiply(scores, seen), cache, False, False)
    logits = ops.matmul(context, ops.constant(head), False, False)
    logits.output(0).get_tensor().set_names({"logits"})
    for parameter in (ids, mask, positions, beams):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    assign = ops.assign(cache, "cache")
    return ov.Model([ops.result(logits)], [assign], [ids, mask, positions, beams], "decoder")


def _rows(table, indices):
    return ops.gather(ops.constant(table), indices, ops.constant(0))


class ArrayDecoder:
    """The same in NumPy; ``wrong`` names what it ignores."""

    def __init__(self, wrong=""):
        self.wrong = wrong
        self.reset()

    def reset(self):
        self.cache = None

    def step(self, tokens, mask, positions, beams):
        new = EMBEDDINGS[tokens] + PLACES[positions * (self.wrong != "positions")]
        cache = new
        if self.cache is not None and self.wrong != "cache":
            before = self.cache if self.wrong == "beams" else self.cache[beams]
            cache = np.concatenate([before, new], axis=1)
        self.cache = cache
        seen = mask[:, None, -cache.shape[1] :]
        if self.wrong == "mask":
            seen = np.ones_like(seen)
        return (new @ cache.transpose(0, 2, 1) * seen) @ cache @ HEAD


def write_openvino_folder(folder, model=None):
    """Write an IR folder with a tokenizer that nothing reads, as optimum-intel would."""
    folder.mkdir()
    ov.save_model(model or build_decoder(), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny"}))
    for name in ("openvino_tokenizer.xml", "openvino_detokenizer.xml", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("a page")
    return folder
