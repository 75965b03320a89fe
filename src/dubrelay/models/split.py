"""Kokoro's graph cut in two, so that the length of the speech can be chosen in between. Run once, at set-up."""

from __future__ import annotations

from typing import Any

import onnx

from dubrelay.errors import StartupError


def halves(model: bytes) -> tuple[bytes, bytes]:
    """Kokoro cut where it has decided how long each phoneme lasts: the predictor and the speaker."""
    whole = onnx.load_model_from_string(model)
    cut = {"/encoder/Div_output_0": "durations", "/encoder/predictor/text_encoder/Concat_4_output_0": "hidden"}
    made = {output for node in whole.graph.node for output in node.output}
    if not cut.keys() <= made:
        raise StartupError("model kokoro: kokoro.onnx is not the export that was tested: it has no /encoder/Div")
    for node in whole.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = cut.get(name, name)
    between = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in cut.values()]
    inputs = [i for i in whole.graph.input if i.name != "speed"]
    return (
        _part(whole, list(whole.graph.input), between),
        _part(whole, inputs + between, list(whole.graph.output)),
    )


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
    graph = onnx.helper.make_graph(nodes[::-1], "kokoro", inputs, outputs, weights)
    part = onnx.helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return bytes(part.SerializeToString(deterministic=True))
