from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from dubrelay.errors import StartupError
from dubrelay.models.fuse import begun_later, fused

pytestmark = pytest.mark.unit

CHANNELS, LENGTH, KERNEL = 8, 300, 3
RNG = np.random.default_rng(5)
WEIGHTS: dict[str, npt.NDArray[Any]] = {
    "axis": np.array([2], np.int64),
    "epsilon": np.float32(1e-5),
    "two": np.float32(2),
    "a": RNG.uniform(0.5, 2, (1, CHANNELS, 1)).astype(np.float32),
    "kernel": RNG.integers(0, 255, (CHANNELS, CHANNELS, KERNEL)).astype(np.uint8),
    "kernel_zero": np.uint8(128),
    "kernel_scale": np.float32(0.004),
    "bias": RNG.integers(-9000, 9000, (1, CHANNELS, 1)).astype(np.int32),
}
WEIGHTS["1/a"] = 1 / WEIGHTS["a"]


def norm(x: str, at: str) -> list[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * gain + offset, in the nodes of Kokoro's export."""
    steps = [
        ("ReduceMean", [x, "axis"], "mean"),
        ("Sub", [x, f"{at}mean"], "centred"),
        ("Mul", [f"{at}centred", f"{at}centred"], "square"),
        ("ReduceMean", [f"{at}square", "axis"], "variance"),
        ("Add", [f"{at}variance", "epsilon"], "safe"),
        ("Sqrt", [f"{at}safe"], "deviation"),
        ("Div", [f"{at}centred", f"{at}deviation"], "normal"),
        ("Mul", ["gain", f"{at}normal"], "scaled"),
        ("Add", [f"{at}scaled", "offset"], "y"),
    ]
    return [helper.make_node(operator, inputs, [at + output]) for operator, inputs, output in steps]


def block() -> bytes:
    """Norm, snake, quantised convolution with its bias, norm."""
    snake = [
        helper.make_node("Mul", ["a", "1y"], ["turns"]),
        helper.make_node("Sin", ["turns"], ["sine"]),
        helper.make_node("Pow", ["sine", "two"], ["power"]),
        helper.make_node("Mul", ["1/a", "power"], ["share"]),
        helper.make_node("Add", ["1y", "share"], ["bent"]),
    ]
    convolution = [
        helper.make_node("DynamicQuantizeLinear", ["bent"], ["q", "scale", "zero"]),
        helper.make_node("ConvInteger", ["q", "kernel", "zero", "kernel_zero"], ["sums"], pads=[1, 1]),
        helper.make_node("Add", ["sums", "bias"], ["biased"]),
        helper.make_node("Cast", ["biased"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "kernel_scale"], ["unit"]),
        helper.make_node("Mul", ["real", "unit"], ["convolved"]),
    ]
    return model([*norm("x", "1"), *snake, *convolution, *norm("convolved", "2")], "2y")


def model(nodes: list[onnx.NodeProto], output: str) -> bytes:
    per_channel = [1, CHANNELS, 1]
    shapes = {"x": [1, CHANNELS, LENGTH], "gain": per_channel, "offset": per_channel}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shapes["x"])]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in WEIGHTS.items()]
    graph = helper.make_graph(nodes, "block", inputs, outputs, weights)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


def run(graph: bytes) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(7)
    given = {
        "x": rng.normal(2, 3, (1, CHANNELS, LENGTH)).astype(np.float32),
        "gain": rng.uniform(0.5, 1.5, (1, CHANNELS, 1)).astype(np.float32),
        "offset": rng.normal(0, 1, (1, CHANNELS, 1)).astype(np.float32),
    }
    result: npt.NDArray[np.float32] = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, given)[
        0
    ]
    return result


def test_what_is_fused_computes_the_same_in_fewer_steps() -> None:
    before, after = block(), fused(block())
    np.testing.assert_allclose(run(after), run(before), atol=0.01)
    assert np.abs(run(before)).max() > 1
    steps = Counter(node.op_type for node in onnx.load_model_from_string(after).graph.node)
    assert steps["InstanceNormalization"] == 2
    assert not steps.keys() & {"ReduceMean", "Sub", "Div", "Sqrt", "Pow"}
    assert steps["Add"] == 1, "the snake's own: the bias is left out"
    left = {weight.name for weight in onnx.load_model_from_string(after).graph.initializer}
    assert not left & {"bias", "epsilon", "two"}


def test_a_sum_that_only_looks_like_a_snake_is_left_as_it_is() -> None:
    nodes = [
        *norm("x", "1"),
        helper.make_node("Mul", ["a", "1y"], ["turns"]),
        helper.make_node("Add", ["1y", "turns"], ["sum"]),
    ]
    before = model(nodes, "sum")
    np.testing.assert_allclose(run(fused(before)), run(before), atol=1e-4)


def test_a_bias_that_is_heard_is_kept() -> None:
    whole = onnx.load_model_from_string(block())
    whole.graph.node.append(helper.make_node("Add", ["2y", "convolved"], ["both"]))
    whole.graph.output[0].name = "both"
    before = whole.SerializeToString()
    np.testing.assert_allclose(run(fused(before)), run(before), atol=0.01)


def test_another_model_is_refused() -> None:
    with pytest.raises(StartupError, match="it normalises nothing"):
        fused(model([helper.make_node("Add", ["x", "offset"], ["y"])], "y"))


def generator() -> bytes:
    """What comes in twice a frame is spread to 120, and the harmonics are added; in Kokoro's names."""
    kernel = RNG.normal(0, 1, (1, 1, 60)).astype(np.float32)
    nodes = [
        helper.make_node("LeakyRelu", ["said"], ["rectified"]),
        helper.make_node("ConvTranspose", ["rectified", "kernel"], ["spread"], name="/generator/ups.0/ConvTranspose"),
        helper.make_node("Abs", ["pitch"], ["harmonics"]),
        helper.make_node("DynamicQuantizeLinear", ["harmonics"], ["q", "scale", "zero"]),
        helper.make_node("ConvInteger", ["q", "one", "zero"], ["sums"], name="/generator/noise_convs.0/Conv_quant"),
        helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["added"]),
        helper.make_node("Add", ["spread", "added"], ["sound"]),
    ]
    nodes[1].attribute.append(helper.make_attribute("strides", [60]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, name]) for name in ("said", "pitch")]
    outputs = [helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 1, "n"])]
    weights = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(np.ones((1, 1, 1), np.uint8), "one")]
    graph = helper.make_graph(nodes, "generator", inputs, outputs, weights)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    )


def test_no_sound_is_made_of_the_first_frames_and_the_rest_is_the_same() -> None:
    rng = np.random.default_rng(9)
    given = {
        "said": rng.normal(0, 1, (1, 1, 40)).astype(np.float32),
        "pitch": rng.uniform(-1, 1, (1, 1, 2400)).astype(np.float32),
    }
    given["pitch"][0, 0, -1] = 1.0  # the same range with and without the first frames
    given["pitch"][0, 0, -2] = 0.0
    made = generator()
    whole, later = (
        ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, given)[0]
        for graph in (made, begun_later(made, 12))
    )
    assert whole.shape[-1] - later.shape[-1] == 12 * 120
    np.testing.assert_allclose(later, whole[:, :, 12 * 120 :], atol=1e-5)


def test_a_model_without_a_generator_is_refused() -> None:
    with pytest.raises(StartupError, match="it has no generator"):
        begun_later(block(), 12)
