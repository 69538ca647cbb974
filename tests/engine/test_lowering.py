"""A network as a list of operations, and what rewrites make of it."""

import numpy as np

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Problem
from chainrule.engine.lowering import Op, Program, lower_network
from chainrule.engine.lowering.network import one_by_one
from chainrule.engine.lowering.records import Value
from chainrule.engine.lowering.rewrites import fork, fuse_relu
from chainrule.layers import BatchNorm, Conv, Dense, Dropout, Flatten, LayerNorm, ReLU, Residual, Softmax
from chainrule.network import Network


def problem_of(layers, inputs):
    return Problem(Network(layers, inputs), losses.MeanSquaredError(), optimizer("adam"))


def names(program):
    return [op.name for op in program.ops]


def test_every_node_is_an_operation_with_its_arrays_by_name():
    problem = problem_of([Dense(4, activation="relu"), LayerNorm(), Dropout(0.0), Dense(2)], 3)
    program = one_by_one(problem)
    assert names(program) == ["dense", "activation", "layer_norm", "dense"]  # a dropout of nothing is none
    assert program.ops[0].parameters == {"W": (0, 12), "b": (12, 16)}
    assert program.ops[1].settings == {"function": "relu", "number": 0.0}
    assert [(op.inputs, op.outputs) for op in program.ops] == [((k,), (k + 1,)) for k in range(4)]
    assert [value.learns for value in program.values] == [False, True, True, True, True]


def test_a_relu_is_fused_between_two_dense_layers_only():
    program = lower_network(problem_of([Dense(4, activation="relu"), Dense(3, activation="relu"), Dense(2)], 3))
    assert names(program) == ["dense", "dense", "dense"]
    fused = [(op.settings["relu"], op.settings["slope"]) for op in program.ops]
    assert fused == [(True, False), (True, True), (False, True)]
    program = lower_network(problem_of([Dense(4, activation="relu"), Softmax()], 3))
    assert names(program) == ["dense", "activation", "softmax"]


def test_a_relu_that_another_operation_reads_is_not_fused():
    relu = {"function": "relu", "number": 0.0}
    dense = {"relu": False, "slope": False}
    ops = (
        Op("dense", (0,), (1,), settings=dense),
        Op("activation", (1,), (2,), settings=relu),
        Op("dense", (2,), (3,), settings=dense),
        Op("sum", (2, 3), (4,)),
    )
    program = Program(tuple(Value((3,), learns=k > 0) for k in range(5)), ops, 4)
    assert fuse_relu(program) == program


def test_the_input_is_read_in_any_shape():
    program = lower_network(problem_of([Flatten(), Dense(2)], (4, 3)))
    assert names(program) == ["dense"]
    assert program.values[0].shape == (12,)
    assert program.ops[0].inputs == (0,)


def test_each_reader_of_a_value_has_a_copy_and_so_has_the_loss():
    program = lower_network(problem_of([Residual([Dense(3)])], 3))
    assert names(program) == ["fork", "dense", "sum"]
    assert sorted(k for op in program.ops[1:] for k in op.inputs if k != 1) == sorted(program.ops[0].outputs)
    ops = (Op("dense", (0,), (1,)), Op("activation", (1,), (2,)))
    forked = fork(Program(tuple(Value((3,), learns=True) for _ in range(3)), ops, 1))
    assert names(forked) == ["dense", "fork", "activation"]
    assert {*forked.ops[2].inputs, forked.prediction} == {*forked.ops[1].outputs}


def test_the_loss_reads_a_row_for_each_position():
    program = lower_network(problem_of([Dense(2)], (4, 3)))
    assert names(program) == ["dense"]
    assert program.values[program.prediction].shape == (4, 2)


def test_a_normalization_is_left_to_the_convolution_that_reads_it():
    wide = Conv(4, (2, 2))
    program = lower_network(problem_of([wide, BatchNorm(), ReLU(), wide, BatchNorm(), Flatten(), Dense(2)], (5, 5, 3)))
    normalizations = [op for op in program.ops if op.name == "batch_norm"]
    assert [op.settings["lazy"] for op in normalizations] == [True, False]  # a Dense reads it as it is
    program = lower_network(problem_of([wide, BatchNorm(), Residual([Conv(4, (1, 1))]), Flatten()], (5, 5, 3)))
    [op] = [op for op in program.ops if op.name == "batch_norm"]
    assert not op.settings["lazy"]  # two read it


def test_rewrites_keep_the_work():
    problem = problem_of([Flatten(), Dense(30, activation="relu"), Residual([Dense(30)]), Dense(2)], (4, 3))
    expected = sum(node.layer.cost(node.built) for node in problem.network.nodes)
    assert np.isclose(one_by_one(problem).work, expected)
    removed = next(node for node in problem.network.nodes if type(node.layer) is Flatten)
    assert np.isclose(lower_network(problem).work, expected - removed.layer.cost(removed.built))
