"""Rewrites of a program: each takes one and returns one that computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from chainrule.engine.lowering.records import Op, Program


def drop_unread(program: Program) -> Program:
    """Operations whose result another one takes from further back are not needed."""
    kept: list[Op] = []
    read = {program.prediction}
    for op in reversed(program.ops):
        if not read.isdisjoint(op.outputs):
            kept.append(op)
            read.update(op.inputs)
    return replace(program, ops=tuple(reversed(kept)))


def reshape_input(program: Program) -> Program:
    """The input can be read in any shape, so nothing has to reshape it."""
    while program.ops and program.ops[0].name == "reshape" and program.ops[0].inputs == (0,):
        first, *rest = program.ops
        (flat,) = first.outputs
        if program.readers[0] > 1 or flat == program.prediction:
            break
        ops = [replace(op, inputs=tuple(0 if k == flat else k for k in op.inputs)) for op in rest]
        program = replace(program, values=(program.values[flat], *program.values[1:]), ops=tuple(ops))
    return program


def tabulate(program: Program) -> Program:
    """The Dense of an Embedding: where an index occurs several times in a mini-batch, its product
    is computed once.
    """
    ops: list[Op] = []
    for op in program.ops:
        before = ops[-1] if ops else None
        chained = op.name == "dense" and before and before.name == "embedding" and before.outputs == op.inputs
        if before and chained and program.readers[op.inputs[0]] == 1 and not before.settings["accumulates"]:
            row = program.values[op.inputs[0]]
            if before.settings["count"] <= SEVERAL * row.rows:
                parameters = {**op.parameters, "table": before.parameters["W"]}
                settings = {"count": before.settings["count"], "features": row.width}
                cost = before.cost + op.cost
                ops[-1] = Op("embedding_dense", before.inputs, op.outputs, parameters, {}, settings, cost)
                continue
        ops.append(op)
    return replace(program, ops=tuple(ops))


SEVERAL = 4
"""Up to how many rows an Embedding has for each position of a sample, for `tabulate`: mini-batches
have several samples.
"""


def fuse_relu(program: Program) -> Program:
    """A Dense computes the ReLU after it, if another Dense follows, which multiplies the derivative
    by the ReLU's slope.
    """
    ops = list(program.ops)
    k = 0
    while k + 2 < len(ops):
        dense, relu, after = ops[k : k + 3]
        chained = relu.inputs == dense.outputs and after.inputs == relu.outputs
        is_relu = relu.name == "activation" and relu.settings["function"] == "relu"
        alone = all(program.readers[op.outputs[0]] == 1 for op in (dense, relu))
        if dense.name == after.name == "dense" and is_relu and chained and alone:
            cost = dense.cost + relu.cost
            fused = replace(dense, outputs=relu.outputs, settings={**dense.settings, "relu": True}, cost=cost)
            ops[k : k + 3] = [fused, replace(after, settings={**after.settings, "slope": True})]
        k += 1
    return replace(program, ops=tuple(ops))


def fuse_relu_into_any(program: Program) -> Program:
    """An operation computes the ReLU after it, and multiplies the derivative by its slope."""
    ops: list[Op] = []
    for op in program.ops:
        before = ops[-1] if ops else None
        is_relu = op.name == "activation" and op.settings["function"] == "relu"
        if before and is_relu and before.name in WITH_RELU and before.outputs == op.inputs and (
            program.readers[op.inputs[0]] == 1
        ):  # fmt: skip
            cost = before.cost + op.cost
            ops[-1] = replace(before, outputs=op.outputs, settings={**before.settings, "relu": True}, cost=cost)
        else:
            ops.append(op)
    return replace(program, ops=tuple(ops))


def keep_slopes(program: Program) -> Program:
    """In training an activation writes its slopes over the sums that it reads: no one else needs
    these, and the backward pass need not compute the function again. A Dense after it multiplies
    its derivatives by them.
    """
    ops = list(program.ops)
    for k, (dense, op) in enumerate(pairwise(program.ops), start=1):
        if dense.name not in ("dense", "embedding_dense") or op.name != "activation":
            continue
        alone = all(program.readers[one.outputs[0]] == 1 for one in (dense, op))
        if dense.outputs == op.inputs and alone and op.settings["function"] in COSTLY:
            chained = k + 1 < len(ops) and ops[k + 1].name == "dense" and ops[k + 1].inputs == op.outputs
            ops[k] = replace(op, settings={**op.settings, "keeps_slopes": True, "leaves_slopes": chained})
    return replace(program, ops=tuple(ops))


COSTLY = ("gelu", "gelu_tanh", "silu", "mish", "softplus", "elu", "selu", "sine")
"""Activations whose slope takes exp or the like."""


def fork(program: Program) -> Program:
    """Every reader of a value gets a copy of its own in the same memory; a fork after the operation
    that writes the value adds up their gradients.
    """
    values, copies = list(program.values), {}
    for k, count in program.readers.items():
        if count > 1:
            copies[k] = list(range(len(values), len(values) + count))
            values += [values[k]] * count
    forks = {k: Op("fork", (k,), tuple(own)) for k, own in copies.items()}
    left = {k: list(own) for k, own in copies.items()}

    def of_its_own(k: int) -> int:
        return left[k].pop(0) if k in left else k

    ops = [forks[0]] if 0 in forks else []
    for op in program.ops:
        ops.append(replace(op, inputs=tuple(of_its_own(k) for k in op.inputs)))
        ops += [forks[k] for k in op.outputs if k in forks]
    return Program(tuple(values), tuple(ops), of_its_own(program.prediction))


def normalize_where_read(program: Program) -> Program:
    """An operation that copies its input anyway normalizes it meanwhile: the normalized numbers are
    nowhere in memory.
    """
    readers = {k: op for op in program.ops for k in op.inputs}
    ops = []
    for op in program.ops:
        lazy = op.name == "batch_norm" and op.outputs[0] != program.prediction
        if lazy and readers[op.outputs[0]].name in NORMALIZING:
            op = replace(op, settings={**op.settings, "lazy": True})
        ops.append(op)
    return replace(program, ops=tuple(ops))


NORMALIZING = ("conv", "depthwise", "lane_conv", "pointwise", "winograd")
"""The operations that normalize their input."""
WITH_RELU = ("batch_norm", "conv", "depthwise", "lane_conv", "pointwise", "winograd")
"""The operations that can."""

REWRITES: tuple[Callable[[Program], Program], ...] = (
    drop_unread, reshape_input, tabulate, fuse_relu, fuse_relu_into_any, keep_slopes, fork,
    normalize_where_read,
)  # fmt: skip
"""All of them, in order: the last one relies on a single reader for each value."""
