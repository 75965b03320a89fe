"""Voices of Piper's kind that take a few kB: each phoneme is a short tone, as long as the scales say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE_HZ = 16_000
HOP = 256
FRAMES = 6
"""Per phoneme id at length_scale 1."""
_LETTERS = {letter: [at] for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 4)}
ID_MAP = {"_": [0], "^": [1], "$": [2], " ": [3], **_LETTERS}


def make(folder: Path, name: str, speakers: dict[str, int] | None = None, **changes: Any) -> Path:
    """Writes NAME.onnx and NAME.onnx.json; `changes` are to the latter's keys."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    onnx.save(_graph(speakers is not None), path)
    described = {
        "audio": {"sample_rate": RATE_HZ, "quality": "medium"},
        "espeak": {"voice": "es"},
        "language": {"code": "es_ES", "family": "es"},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": ID_MAP,
        "num_symbols": 64,
        "num_speakers": len(speakers) if speakers else 1,
        "speaker_id_map": speakers or {},
    }
    path.with_name(path.name + ".json").write_text(json.dumps(described | changes))
    return path


def _graph(many: bool) -> onnx.ModelProto:
    """Every id sounds FRAMES * length_scale frames, rounded up, at a level of noise_scale + noise_w / 10; a speaker's
    number raises the pitch."""
    nodes: list[onnx.NodeProto] = []

    def put(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    constants = {
        "scalar": np.zeros(0, np.int64),
        "flat": np.array([-1], np.int64),
        "zero": np.int64(0),
        "one": np.int64(1),
        "axis": np.int64(0),
        "length_at": np.int64(1),
        "frames": np.float32(FRAMES),
        "hop": np.int64(HOP),
        "turn": np.float32(2 * np.pi / RATE_HZ),
        "noise_at": np.int64(0),
        "noise_w_at": np.int64(2),
        "tenth": np.float32(0.1),
        "hz": (110 * 2 ** ((np.arange(64) % 24) / 12)).astype(np.float32),
        "out_shape": np.array([1, 1, 1, -1], np.int64),
        "octave": np.float32(1.0),
    }
    put("Reshape", ["input", "flat"], "ids")
    put("Gather", ["scales", "length_at"], "length_scale")
    put("Mul", ["length_scale", "frames"], "exact")
    put("Ceil", ["exact"], "whole")
    put("Cast", ["whole"], "frame_count", to=TensorProto.INT64)
    put("Max", ["frame_count", "one"], "each")
    put("Mul", ["each", "hop"], "per_id")
    put("Reshape", ["input_lengths", "scalar"], "count")
    put("Mul", ["per_id", "count"], "total")
    put("Range", ["zero", "total", "one"], "at")
    put("Div", ["at", "per_id"], "which")
    put("Gather", ["ids", "which"], "id_at")
    put("Gather", ["hz", "id_at"], "tone")
    if many:
        put("Reshape", ["sid", "scalar"], "speaker")
        put("Cast", ["speaker"], "speaker_number", to=TensorProto.FLOAT)
        put("Add", ["speaker_number", "octave"], "raised")
        put("Mul", ["tone", "raised"], "pitch")
    else:
        put("Identity", ["tone"], "pitch")
    put("Mul", ["pitch", "turn"], "step")
    put("CumSum", ["step", "axis"], "phase")
    put("Sin", ["phase"], "wave")
    put("Gather", ["scales", "noise_at"], "noise_scale")
    put("Gather", ["scales", "noise_w_at"], "noise_w")
    put("Mul", ["noise_w", "tenth"], "a_little")
    put("Add", ["noise_scale", "a_little"], "level")
    put("Mul", ["wave", "level"], "sound")
    put("Reshape", ["sound", "out_shape"], "output")
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "n"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if many:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch"]))
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    return model
