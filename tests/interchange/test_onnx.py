"""Networks from and to files of ONNX."""

import json

import numpy as np
import pytest

import chainrule
from chainrule.cli import run as command
from chainrule.errors import DataError, SettingError
from chainrule.explain import explain
from chainrule.interchange import export, from_onnx, from_safetensors
from chainrule.network import Network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

RANDOM = np.random.default_rng(0)


def array(name, *shape):
    return numpy_helper.from_array(RANDOM.normal(size=shape).astype(np.float32), name)


def model(nodes, arrays, shape, output, opset=18, extra=()):
    made = [helper.make_node(op, ins, outs, name=f"{op}_{k}", **a) for k, (op, ins, outs, a) in enumerate(nodes)]
    x, y = helper.make_tensor_value_info("x", 1, [None, *shape]), helper.make_tensor_value_info(output, 1, None)
    graph = helper.make_graph([*extra, *made], "g", [x], [y], arrays)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    m.ir_version = 9
    return m


def written(tmp_path, m):
    path = tmp_path / "model.onnx"
    path.write_bytes(m.SerializeToString())
    return path


def same(path, trained, x):
    """Whether the file's own predictions are the network's."""
    (expected,) = runtime.InferenceSession(str(path)).run(None, {"x": x})
    own = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    found = trained.probabilities(own)
    np.testing.assert_allclose(trained.raw(own) if found is None else found, expected, atol=1e-5)


CONV = (
    [("Conv", ["x", "W", "b"], ["c"], {"pads": [1, 0, 1, 2], "strides": [2, 1], "group": 3}),
     ("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], {}), ("Relu", ["n"], ["r"], {}),
     ("MaxPool", ["r"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
     ("Flatten", ["p"], ["f"], {}), ("Gemm", ["f", "U", "d"], ["z"], {"transB": 1}), ("Softmax", ["z"], ["y"], {})],
    lambda: [array("W", 6, 1, 3, 3), array("b", 6), array("s", 6), array("o", 6), array("m", 6),
             numpy_helper.from_array(np.full(6, 0.7, np.float32), "v"), array("U", 4, 6 * 2 * 5), array("d", 4)],
)  # fmt: skip


def test_weights_keep_their_bits_and_channels_go_last(tmp_path):
    nodes, arrays = CONV
    held = arrays()
    path = written(tmp_path, model(nodes, held, (3, 7, 9), "y"))
    trained = from_onnx(path, task="classification", classes=["a", "b", "c", "d"])
    assert trained.plan.network.input_shape == (7, 9, 3)
    assert trained.target.classes == ("a", "b", "c", "d")
    same(path, trained, RANDOM.normal(size=(3, 3, 7, 9)).astype(np.float32))
    views = dict(trained.plan.network.parameters.views(trained.parameters))
    np.testing.assert_array_equal(views["W.W"], numpy_helper.to_array(held[0]).transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(views["U.W"], numpy_helper.to_array(held[6]).T)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrence(tmp_path, operator, gates, direction):
    d = 2 if direction == "bidirectional" else 1
    settings = {"hidden_size": 5, "direction": direction} | ({"linear_before_reset": 1} if operator == "GRU" else {})
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}), (operator, ["t", "W", "R", "B"], ["h", "last"], settings),
        ("Transpose", ["last"], ["e"], {"perm": [1, 0, 2]}), ("Flatten", ["e"], ["f"], {}),
        ("MatMul", ["f", "U"], ["p"], {}), ("Add", ["p", "c"], ["y"], {}),
    ]  # fmt: skip
    arrays = [array("W", d, gates * 5, 3), array("R", d, gates * 5, 5), array("B", d, 2 * gates * 5)]
    path = written(tmp_path, model(nodes, [*arrays, array("U", d * 5, 2), array("c", 2)], (6, 3), "y"))
    same(path, from_onnx(path), RANDOM.normal(size=(4, 6, 3)).astype(np.float32))


def test_decomposed_gelu_and_layer_norm_are_one_layer_each(tmp_path):
    numbers = {"half": 0.5, "one": 1.0, "root": 2**0.5, "two": 2.0, "eps": 1e-5}
    constants = [helper.make_node("Constant", [], [k], value=numpy_helper.from_array(np.array(v, np.float32)))
                 for k, v in numbers.items()]  # fmt: skip
    nodes = [
        ("Div", ["x", "root"], ["s"], {}), ("Erf", ["s"], ["e"], {}), ("Add", ["e", "one"], ["a"], {}),
        ("Mul", ["x", "a"], ["q"], {}), ("Mul", ["q", "half"], ["g"], {}),
        ("ReduceMean", ["g"], ["m"], {"axes": [-1]}), ("Sub", ["g", "m"], ["u"], {}), ("Pow", ["u", "two"], ["w"], {}),
        ("ReduceMean", ["w"], ["v"], {"axes": [-1]}), ("Add", ["v", "eps"], ["ve"], {}), ("Sqrt", ["ve"], ["d"], {}),
        ("Div", ["u", "d"], ["n"], {}), ("Mul", ["n", "scale"], ["k"], {}), ("Add", ["k", "offset"], ["y"], {}),
    ]  # fmt: skip
    path = written(tmp_path, model(nodes, [array("scale", 6), array("offset", 6)], (6,), "y", 17, constants))
    trained = from_onnx(path)
    assert [node.layer.kind for node in trained.plan.network.nodes] == ["GELU", "LayerNorm"]
    same(path, trained, RANDOM.normal(size=(5, 6)).astype(np.float32))


def test_everything_without_a_layer_is_named_at_once(tmp_path):
    nodes = [("Cosh", ["x"], ["a"], {}), ("MatMul", ["a", "W"], ["b"], {}), ("Det", ["b"], ["c"], {}),
             ("Sinh", ["c"], ["y"], {})]  # fmt: skip
    path = written(tmp_path, model(nodes, [array("W", 4, 4)], (4,), "y"))
    with pytest.raises(SettingError, match=r"3 operations .* Cosh_0 \(Cosh\); Det_2 \(Det\); Sinh_3 \(Sinh\)"):
        from_onnx(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"not a model at all", b"\x08\x09\x12\xff\xff\xff\xff\x0f"])
def test_what_is_no_onnx_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no ONNX file"):
        from_onnx(path)


def test_data_elsewhere_is_read_from_the_same_folder_alone(tmp_path):
    m = model([("MatMul", ["x", "W"], ["y"], {})], [array("W", 4, 2)], (4,), "y")
    tensor = m.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "weights.bin").write_bytes(content)
    with pytest.raises(DataError, match="not beside it"):
        from_onnx(written(inner, m))
    tensor.external_data[0].value = "weights.bin"
    (inner / "weights.bin").write_bytes(content)
    trained = from_onnx(written(inner, m))
    np.testing.assert_array_equal(trained.parameters, np.frombuffer(content, np.float32))


def test_a_huge_constant_is_not_made(tmp_path):
    constant = helper.make_node("Constant", [], ["n"], value=numpy_helper.from_array(np.array([2**40], np.int64)))
    nodes = [("ConstantOfShape", ["n"], ["a"], {}), ("Add", ["x", "a"], ["y"], {})]
    path = written(tmp_path, model(nodes, [array("W", 4, 2)], (4,), "y", extra=[constant]))
    with pytest.raises(SettingError, match="a constant of the shape"):
        from_onnx(path)


def test_a_constant_that_grows_from_node_to_node_is_not_made(tmp_path):
    nodes = [("Concat", ["W"] * 5000, ["e"], {"axis": 1}), ("Concat", ["e"] * 5000, ["f"], {"axis": 1}),
             ("MatMul", ["x", "f"], ["y"], {})]  # fmt: skip
    with pytest.raises(SettingError, match="a constant of the shape"):
        from_onnx(written(tmp_path, model(nodes, [array("W", 4, 2)], (4,), "y")))


def test_a_shape_with_a_negative_size_is_refused(tmp_path):
    m = model([("MatMul", ["x", "W"], ["y"], {})], [array("W", 4, 2)], (4,), "y")
    m.graph.initializer[0].dims[0] = -4
    with pytest.raises(DataError, match=r"its tensor 'W' has the shape \[-4, 2\]"):
        from_onnx(written(tmp_path, m))


def test_an_imported_run_is_explained_and_trained_on(tmp_path, capsys):
    nodes = [("Gemm", ["x", "W", "b"], ["h"], {}), ("Tanh", ["h"], ["t"], {}), ("Gemm", ["t", "U", "c"], ["y"], {})]
    path = written(
        tmp_path, model(nodes, [array("W", 3, 4), array("b", 4), array("U", 4, 1), array("c", 1)], (3,), "y")
    )
    run, table = tmp_path / "run", tmp_path / "data.csv"
    x = RANDOM.normal(size=(60, 3))
    rows = [",".join(map(str, (*row, row.sum()))) for row in x]
    table.write_text("\n".join(["a,b,c,price", *rows]))
    assert command(["import", str(path), "-o", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == 21
    assert command(["explain", str(run), "W.W[0, 1]", "--data", str(table), "--target", "price"]) == 0
    assert "step 0   W.W[0, 1]: " in capsys.readouterr().out
    e = explain(chainrule.Run.open(run), "U.W[2, 0]", data=(x, x.sum(axis=1)))
    assert abs(sum(term.product for term in e.samples) - e.gradient) < 1e-9
    plain = tmp_path / "plain.csv"  # without the target, by the network's order
    plain.write_text("\n".join(["a,b,c", *(",".join(map(str, row)) for row in x)]))
    for of_run in (
        ["explain", str(run), str(plain), "--row", "3"],
        ["report", str(run), "-o", str(tmp_path / "r.html")],
    ):
        assert command(of_run) == 0
    capsys.readouterr()
    further = tmp_path / "further"
    arguments = ["train", str(table), "--target", "price", "--from", str(run), "-o", str(further), "--epochs", "30"]
    assert command([*arguments, "--optimizer", "adam 0.03", "--json"]) == 0
    history = json.loads(capsys.readouterr().out)["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    first = chainrule.Run.open(further).at(0)
    np.testing.assert_array_equal(first.before.parameters, chainrule.open(run).parameters)
    for wrong in (["train", "--resume", str(run)], ["explain", str(run)], ["import", str(path), "-o", str(run)]):
        assert command(wrong) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


NETWORKS = {
    "dense": ("expand 3, 8 silu, layer_norm, 3", (5,)), "pictures": (
        "conv 6 3 stride=2 padding=same, batch_norm, gelu, depthwise_conv 3, group_norm 2, max_pool 2, upsample 2,"
        " zero_pad 1, average_pool 2, global_average_pool, unit_norm, 3", (12, 10, 2)),
    "transformer": ("transformer 1 8 heads=2 causal=true norm=rms_norm, global_max_pool, 3", (6, 4)),
    "recurrence": ("gru 5 all=true, lstm 4 all=true reversed=true, simple_rnn 3, 3 relu6, 3", (6, 4)),
    "tokens": ("embedding 9 4, lstm 5, 3", (7,)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_out_and_comes_back(tmp_path, name):
    text, shape = NETWORKS[name]
    x = RANDOM.normal(size=(40, *shape)).astype(np.float32)
    x = RANDOM.integers(0, 9, (40, *shape)).astype(np.float32) if name == "tokens" else x
    y = np.arange(40) % 3
    network = Network(text, shape)
    trained = chainrule.train(network, chainrule.from_arrays(x, y, task="classification"), epochs=1)
    path = tmp_path / "model.onnx"
    out = export(trained, path)
    assert out.difference is not None
    assert out.difference < 1e-5
    back = from_onnx(path)
    np.testing.assert_allclose(back.probabilities(back.plan.network.fit_input(x)), trained.probabilities(x), atol=1e-5)
    assert back.target.classes == trained.target.classes
    assert {*trained.parameters[trained.parameters != 0].tolist()} <= {*back.parameters.tolist()}


def test_a_tables_columns_go_in_as_they_are(tmp_path):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({
        "rooms": [None if k % 7 == 0 else float(k % 5) for k in range(80)],
        "city": ["Bern", "Basel", None, "Chur"] * 20,
        "price": [100.5 + k % 5 + k / 1000 for k in range(80)],
    })  # fmt: skip
    trained = chainrule.train("8 tanh", frame, target="price", epochs=3)
    assert export(trained, tmp_path / "m.onnx").difference < 1e-5
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    given = {"rooms": np.array([[np.nan], [3.0]]), "city": np.array([["Bern"], [""]], object)}
    (found,) = session.run(None, given)
    expected = trained.predict(pl.DataFrame({"rooms": [None, 3.0], "city": ["Bern", None]}))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)


def test_weights_with_their_recipe(tmp_path):
    trained = chainrule.train("6 relu", "iris", epochs=1)
    export(trained, tmp_path / "a.safetensors")
    back = from_safetensors(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(back.parameters, trained.parameters)
    assert back.target.classes == trained.target.classes
    from safetensors.numpy import save_file

    views = {k: v.copy() for k, v in trained.plan.network.parameters.views(trained.parameters)}
    save_file(views, tmp_path / "b.safetensors")
    with pytest.raises(DataError, match="no recipe"):
        from_safetensors(tmp_path / "b.safetensors")
    (tmp_path / "b.json").write_text(json.dumps({"network": {"text": "6 relu, 3", "input_shape": [4]}}))
    np.testing.assert_array_equal(from_safetensors(tmp_path / "b.safetensors").parameters, trained.parameters)
    (tmp_path / "b.json").write_text(json.dumps({"network": {"text": "5 relu, 3", "input_shape": [4]}}))
    with pytest.raises(SettingError, match=r"dense_1\.W: an array of the shape \(4, 5\)"):
        from_safetensors(tmp_path / "b.safetensors")


def test_code_for_pytorch_is_python(tmp_path):
    trained = chainrule.train("conv 4 3, batch_norm, relu, global_average_pool", "digits", epochs=1)
    export(trained, tmp_path / "net.py")
    code = (tmp_path / "net.py").read_text()
    compile(code, "net.py", "exec")
    assert "nn.Conv2d(1, 4, (3, 3)" in code
    assert (tmp_path / "net.safetensors").exists()
    with pytest.raises(SettingError, match=r"\.onnx, \.safetensors or \.py"):
        export(trained, tmp_path / "net.pt")
