"""Kokoro's speaker made cheaper: fewer passes over its sound, and no sound where there is none. Run once, at set-up.

Between any two convolutions the sound is read and written a dozen times. What can be said in less:

    norm    (x - mean) / sqrt(variance + epsilon) * gain + offset     one InstanceNormalization instead of nine nodes
    snake   y + sin(a y)^2 / a  is  (u + sin(u)^2) / a  with u = a y   a goes into the gain and offset that make y
    bias    what is added to a whole channel before it is normalised   is taken out again: left out

The first syllable is only spoken well after 0.4 s of pad. What is to be said is decided from all of it; the generator,
where nine tenths of the time go, begins later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dubrelay.errors import StartupError

_FLAT = "fused/flat"
_UPSAMPLING, _HARMONICS = "/generator/ups.0/ConvTranspose", "/generator/noise_convs.0/Conv_quant"
"""Where what is to be said comes into the generator, and the harmonics of its pitch."""


class _Snake(NamedTuple):
    nodes: tuple[Any, ...]
    factor: str
    """a, and what is multiplied with instead of dividing by it."""
    inverse: str
    output: str


class _Links:
    """Who makes and who uses what, as the graph was when this was made."""

    def __init__(self, graph: Any) -> None:
        self.made = {output: node for node in graph.node for output in node.output}
        self.weights = {weight.name: weight for weight in graph.initializer}
        self.used: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.used[name].append(node)

    def back(self, name: str, *operators: str) -> list[Any]:
        """The nodes that lead to `name` by their first inputs, last one first; empty when they are others."""
        found = []
        for operator in operators:
            node = self.made.get(name)
            if node is None or node.op_type != operator:
                return []
            found.append(node)
            name = node.input[0]
        return found

    def only(self, name: str, operator: str) -> Any:
        """The one node that uses `name`, when it is such a one; else None."""
        used = self.used[name]
        return used[0] if len(used) == 1 and used[0].op_type == operator else None


def fused(model: bytes) -> bytes:
    """StartupError when it is another model, in which there is nothing to be fused."""
    whole = onnx.load_model_from_string(model)
    graph = whole.graph
    links = _Links(graph)
    instead: dict[str, list[Any]] = {}
    gone: set[str] = set()
    for node in graph.node:
        if node.op_type == "Div" and (given := _normalised(node, links)):
            for scaled in links.used[node.output[0]]:
                if shifted := scaled.op_type == "Mul" and links.only(scaled.output[0], "Add"):
                    nodes, replaced = _norm(node.output[0], given, scaled, shifted, links)
                    instead[shifted.output[0]] = nodes
                    gone.update(replaced)
    if not instead:
        raise StartupError("model kokoro: kokoro.onnx is not the export that was tested: it normalises nothing")
    kept = [node for node in graph.node if node.output[0] in instead or node.output[0] not in gone]
    _replace(graph, [new for node in kept for new in instead.get(node.output[0], [node])])
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), _FLAT))
    _drop_biases(graph)
    _replace(graph, graph.node)
    return bytes(whole.SerializeToString(deterministic=True))


def begun_later(model: bytes, frames: int) -> bytes:
    """No sound is made of the first `frames`; in the 10 ms after them there is a click. StartupError as in `fused`."""
    whole = onnx.load_model_from_string(model)
    graph = whole.graph
    links = _Links(graph)
    upsampling = next((node for node in graph.node if node.name.endswith(_UPSAMPLING)), None)
    harmonics = next((node for node in graph.node if node.name.endswith(_HARMONICS)), None)
    quantised = links.back(harmonics.input[0], "DynamicQuantizeLinear") if harmonics else []
    if upsampling is None or not quantised:
        raise StartupError("model kokoro: kokoro.onnx is not the export that was tested: it has no generator")
    for name, per_frame in ((upsampling.input[0], 2), (quantised[0].input[0], 120)):
        bounds = {f"{name}/first": frames * per_frame, f"{name}/end": 2**62, f"{name}/axis": 2}
        graph.initializer.extend(
            numpy_helper.from_array(np.array([at], np.int64), bound) for bound, at in bounds.items()
        )
        for user in links.used[name]:
            user.input[:] = [f"{name}/later" if given == name else given for given in user.input]
        at = next(i for i, node in enumerate(graph.node) if name in node.output)
        graph.node.insert(at + 1, helper.make_node("Slice", [name, *bounds], [f"{name}/later"]))
    return bytes(whole.SerializeToString(deterministic=True))


def _normalised(div: Any, links: _Links) -> tuple[str, float] | None:
    """x and epsilon where `div` is (x - mean) / sqrt(mean((x - mean)^2) + epsilon)."""
    nodes = links.back(div.input[1], "Sqrt", "Add", "ReduceMean", "Mul", "Sub")
    if not nodes:
        return None
    _, added, _, square, centred = nodes
    mean = links.made.get(centred.input[1])
    same = set(square.input) == {centred.output[0]} and div.input[0] == centred.output[0]
    epsilon = links.weights.get(added.input[1])
    if mean is None or mean.op_type != "ReduceMean" or mean.input[0] != centred.input[0] or not same or epsilon is None:
        return None
    return centred.input[0], float(numpy_helper.to_array(epsilon))


def _norm(
    normalised: str, given: tuple[str, float], scaled: Any, shifted: Any, links: _Links
) -> tuple[list[Any], set[str]]:
    """The nodes instead of gain, offset and what follows of a snake; the outputs of those that they replace."""
    x, epsilon = given
    gain, offset = _other(scaled, normalised), _other(shifted, scaled.output[0])
    name = shifted.output[0]
    gone = {scaled.output[0], name}
    snake = _snake(name, links)
    nodes = []
    if snake:
        nodes += [
            helper.make_node("Mul", [gain, snake.factor], [f"{name}/gain"]),
            helper.make_node("Mul", [offset, snake.factor], [f"{name}/offset"]),
        ]
        gain, offset = f"{name}/gain", f"{name}/offset"
        gone |= {output for node in snake.nodes for output in node.output}
    flat = [f"{name}/flat_gain", f"{name}/flat_offset"]
    u = f"{name}/u" if snake else name
    nodes += [
        helper.make_node("Reshape", [gain, _FLAT], flat[:1]),
        helper.make_node("Reshape", [offset, _FLAT], flat[1:]),
        helper.make_node("InstanceNormalization", [x, *flat], [u], epsilon=epsilon),
    ]
    if snake:
        nodes += [
            helper.make_node("Sin", [u], [f"{name}/sin"]),
            helper.make_node("Mul", [f"{name}/sin"] * 2, [f"{name}/square"]),
            helper.make_node("Add", [u, f"{name}/square"], [f"{name}/sum"]),
            helper.make_node("Mul", [f"{name}/sum", snake.inverse], [snake.output]),
        ]
    return nodes, gone


def _snake(y: str, links: _Links) -> _Snake | None:
    """What makes y + sin(a y)^2 / a of `y`, when nothing else uses it."""
    users = {node.op_type: node for node in links.used[y]}
    if set(users) != {"Mul", "Add"} or len(links.used[y]) != 2:
        return None
    inner, outer = users["Mul"], users["Add"]
    sine = links.only(inner.output[0], "Sin")
    square = sine and links.only(sine.output[0], "Pow")
    divided = square and links.only(square.output[0], "Mul")
    if not divided or links.used[divided.output[0]] != [outer]:
        return None
    factor, inverse = _other(inner, y), _other(divided, square.output[0])
    if not {factor, inverse} <= links.weights.keys():
        return None
    return _Snake((inner, sine, square, divided, outer), factor, inverse, outer.output[0])


def _drop_biases(graph: Any) -> None:
    links = _Links(graph)
    for node in graph.node:
        used = links.used[node.output[0]]
        if node.op_type != "Mul" or not used or any(user.op_type != "InstanceNormalization" for user in used):
            continue
        for name in node.input:
            nodes = links.back(name, "Cast", "Add", "ConvInteger")
            if nodes and len(links.used[name]) == len(links.used[nodes[1].output[0]]) == 1:
                nodes[0].input[0] = nodes[2].output[0]


def _other(node: Any, name: str) -> str:
    return str(node.input[1] if node.input[0] == name else node.input[0])


def _replace(graph: Any, nodes: Iterable[Any]) -> None:
    """`nodes` and the weights that they use instead of the graph's own, without what leads nowhere."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept[::-1])
    graph.initializer.extend(weights)
