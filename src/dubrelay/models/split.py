"""Graphs recut for our use: Kokoro's in two, so that the length of the speech can be chosen in between; DeepFilterNet's
three in one, so that it can hear a stream piece by piece. Run once, at set-up."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import onnx

from dubrelay.errors import StartupError
from dubrelay.models.fuse import begun_later, fused

_SHARED = {"feat_erb", "feat_spec", "e0", "e1", "e2", "e3", "emb", "c0", "m", "coefs"}
"""Names by which DeepFilterNet's graphs mean the same; each has others of its own that are equal by chance."""
_FRAMES_BEFORE = {"feat_erb": (1, 1, 2, 32), "feat_spec": (1, 2, 2, 96), "c0": (1, 64, 4, 96)}
"""What its convolutions look back at: as it was exported, silence before the first frame of a recording."""
_GRU_STATE = (1, 1, 256)
_GRUS = 5


def halves(model: bytes, unheard_frames: int) -> tuple[bytes, bytes]:
    """Kokoro cut where it has decided how long each phoneme lasts: the predictor and the speaker, made cheaper."""
    whole = onnx.load_model_from_string(model)
    cut = {"/encoder/Div_output_0": "durations", "/encoder/predictor/text_encoder/Concat_4_output_0": "hidden"}
    made = {output for node in whole.graph.node for output in node.output}
    if not cut.keys() <= made:
        raise StartupError("model kokoro: kokoro.onnx is not the export that was tested: it has no /encoder/Div")
    whole.graph.name = "kokoro"
    for node in whole.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = cut.get(name, name)
    between = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in cut.values()]
    inputs = [i for i in whole.graph.input if i.name != "speed"]
    speaker = _part(whole, inputs + between, list(whole.graph.output))
    return _part(whole, list(whole.graph.input), between), begun_later(fused(speaker), unheard_frames)


def _part(whole: Any, inputs: list[Any], outputs: list[Any]) -> bytes:
    """The nodes and weights that lead from `inputs` to `outputs`."""
    given = {i.name for i in inputs}
    wanted = {o.name for o in outputs}
    nodes: list[Any] = []
    for node in reversed(whole.graph.node):
        if wanted.intersection(node.output) and not given.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    weights = [w for w in whole.graph.initializer if w.name in wanted]
    graph = onnx.helper.make_graph(nodes[::-1], whole.graph.name, inputs, outputs, weights)
    part = onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return bytes(part.SerializeToString(deterministic=True))


def streaming(archive: bytes) -> bytes:
    """DeepFilterNet3 as one graph that remembers nothing: its memory goes in and comes out.

    (1, 1, n, 32) and (1, 2, n, 96) features and the memory -> (1, 1, n, 32) gains, (1, n, 96, 10) filters and the
    memory for the next frames, in the order in which it goes in. Any n; a stream begins with zeros for memory.
    """
    whole = _joined(archive)
    memory = _frames_before_as_inputs(whole.graph) | _states_as_inputs(whole.graph)
    if len(memory) != len(_FRAMES_BEFORE) + _GRUS:
        raise StartupError("model deepfilternet: its archive is not the export that was tested")
    features = [_tensor(name, [1, shape[1], "n", shape[3]]) for name, shape in _FRAMES_BEFORE.items() if name != "c0"]
    before = [_tensor(name, list(shape)) for name, shape in memory.items()]
    after = [_tensor(f"{name}_after", None) for name in memory]
    return _part(whole, features + before, [_tensor("m", None), _tensor("coefs", None), *after])


def _joined(archive: bytes) -> Any:
    """All nodes and weights of the three graphs, in the order of the data."""
    encoder, *decoders = (onnx.load_model_from_string(graph) for graph in _unpacked(archive))
    _prefix(encoder.graph, "enc")
    for number, decoder in enumerate(decoders):
        _prefix(decoder.graph, f"dec_{number}")
        encoder.graph.MergeFrom(decoder.graph)
    encoder.graph.name = "deepfilternet"
    return encoder


def _unpacked(archive: bytes) -> list[bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            members = [files.extractfile(f"tmp/export/{name}.onnx") for name in ("enc", "erb_dec", "df_dec")]
            return [member.read() for member in members if member is not None]
    except (tarfile.TarError, KeyError) as e:
        raise StartupError(f"model deepfilternet: its archive is not the export that was tested: {e}") from e


def _prefix(graph: Any, prefix: str) -> None:
    def own(name: str) -> str:
        return name if not name or name in _SHARED else f"{prefix}/{name}"

    for node in graph.node:
        node.name = own(node.name)
        node.input[:] = [own(name) for name in node.input]
        node.output[:] = [own(name) for name in node.output]
    for weight in graph.initializer:
        weight.name = own(weight.name)


def _frames_before_as_inputs(graph: Any) -> dict[str, tuple[int, ...]]:
    """Makes each padding with silence one with what came before; gives the new inputs with their shapes."""
    memory: dict[str, tuple[int, ...]] = {}
    for i, node in enumerate(graph.node):
        if node.op_type == "Pad" and node.input[0] in _FRAMES_BEFORE:
            name, padded = node.input[0], node.output[0]
            before, shape = f"{name}_before", _FRAMES_BEFORE[name]
            graph.node[i].CopyFrom(onnx.helper.make_node("Concat", [before, name], [padded], axis=2))
            bounds = {f"{name}_first": -shape[2], f"{name}_end": 2**31 - 1, f"{name}_axis": 2}
            graph.initializer.extend(
                onnx.helper.make_tensor(bound, onnx.TensorProto.INT64, [1], [at]) for bound, at in bounds.items()
            )
            graph.node.append(onnx.helper.make_node("Slice", [padded, *bounds], [f"{before}_after"]))
            memory[before] = shape
    return memory


def _states_as_inputs(graph: Any) -> dict[str, tuple[int, ...]]:
    memory: dict[str, tuple[int, ...]] = {}
    for node in graph.node:
        if node.op_type == "GRU":
            name = f"gru_{len(memory)}"
            node.input[5], node.output[1] = name, f"{name}_after"
            memory[name] = _GRU_STATE
    return memory


def _tensor(name: str, shape: list[int | str] | None) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
