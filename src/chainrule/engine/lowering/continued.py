"""Lowering of a network that continues texts (see engine/continuation.py): the program of a single
position, in which the operations that look back keep what they have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.engine.base import Problem
from chainrule.engine.continuation import carrying
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import Piece, one_by_one
from chainrule.engine.lowering.records import Op, Program
from chainrule.engine.lowering.rewrites import REWRITES
from chainrule.network import Network


def lower_continued(problem: Problem, texts: int, length: int) -> Program:
    """The program for the new positions of texts, of which each is a sample.

    Args:
        problem: the network of all positions
        texts: how many texts are continued at the same time
        length: the most positions of a text that are kept, and that are new in a pass

    Raises:
        SettingError, ShapeError: for a network that can't be continued
        NoKernel: where something that looks back has no kernel
    """
    whole = problem.network
    carrying(whole)
    one = replace(problem, network=whole.of_one_position)
    program = one_by_one(one, lambda piece, op: _continued(one.network, piece, op, texts, length))
    for rewrite in REWRITES:
        program = rewrite(program)
    return program


def _continued(network: Network, piece: Piece, op: Op, texts: int, length: int) -> Op:
    """The operation of a piece, which keeps what it has seen."""
    layer: Any = piece.nodes[0].layer
    sizes = {"texts": texts, "length": length}
    if op.name in ("attention", "scan"):
        names = ("heads", "groups", "width", "features") if op.name == "attention" else ("cell",)
        return replace(op, name=f"continued_{op.name}", settings={name: op.settings[name] for name in names} | sizes)
    if isinstance(layer, layers.Conv):
        (axis,) = layer.window_axes(network.graph.shapes[piece.nodes[0].inputs[0]][:-1])
        if layer.groups != 1:
            raise NoKernel("a causal convolution of groups")
        own = {"kernel": axis.kernel, "dilation": axis.dilation}
        return replace(op, name="continued_conv", settings=own | sizes)
    if piece.call is not None or isinstance(layer, layers.MaskedSoftmax):
        raise NoKernel(piece.nodes[0].name)
    return replace(op, settings={**op.settings, **_at_positions(layer, piece, texts, length)})


def _at_positions(layer: Any, piece: Piece, texts: int, length: int) -> Mapping[str, Any]:
    """What a layer does at each position, if that depends on it."""
    features = piece.nodes[0].built.output_shape[-1:]
    if isinstance(layer, layers.LearnedPositions):
        return {"texts": texts}
    if isinstance(layer, layers.SinusoidalPositions):
        return {"texts": texts, "numbers": layer.waves(length, *features).ravel().tolist()}
    if isinstance(layer, layers.Rotary):
        angles = layer.angles(length, *features).ravel()
        return {"texts": texts, "cosines": np.cos(angles).tolist(), "sines": np.sin(angles).tolist()}
    return {}
