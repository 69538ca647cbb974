"""The code for PyTorch of convolutional networks: with the same weights it predicts the same."""

import numpy as np
import pytest

from chainrule.data import load
from chainrule.errors import SettingError
from chainrule.play.export import export
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import Recorder, Run, train

DIGITS = load("digits", validation=0.1, test=0.1)
PAGE = {"data": {"kind": "builtin", "name": "digits"}, "layers": [{"units": 4, "activation": "tanh"}]}


def trainer_of(network, folder):
    train(network, DIGITS, epochs=1, patience=None, callbacks=[Recorder(folder)])
    trainer = Trainer(Settings.from_json(PAGE), DIGITS, Run.open(folder))
    trainer.go_to(trainer.furthest)
    return trainer


CONVOLUTIONS = (
    "conv 4 3x3 padding=same relu, max_pool 2, conv 6 3x3 stride=2 padding=same, batch_norm, relu, flatten, 8 relu, 10"
)


@pytest.mark.parametrize(
    ("network", "modules"),
    [
        (CONVOLUTIONS, ["Conv2d(1, 4, (3, 3), (1, 1), (1, 1)", "MaxPool2d(2, 2)", "ZeroPad2d((0, 1, 0, 1))",
                        "Conv2d(4, 6, (3, 3), (2, 2), (0, 0)", "BatchNorm2d(6", "ChannelsLast()",
                        "Linear(24, 8, True)"]),
        ("conv 4 3x3, average_pool 2, flatten, 10", ["AvgPool2d(2, 2)", "ChannelsLast()"]),
        ("conv 4 3x2 dilation=2 relu, global_average_pool, 10", ["Conv2d(1, 4, (3, 2)", "AdaptiveAvgPool2d(1)"]),
    ],
)  # fmt: skip
def test_it_predicts_the_same(network, modules, tmp_path):
    trainer = trainer_of(network, tmp_path / "run")
    code = export(trainer, "torch")
    compile(code, "network_torch.py", "exec")
    assert [module for module in modules if module not in code] == []
    torch = pytest.importorskip("torch")
    names: dict = {}
    exec(code[: code.index("optimizer =")], names)
    theirs, graph = names["network"], trainer.plan.network
    views = dict(graph.parameters.views(trainer.position.parameters))
    views |= dict(graph.statistics.views(trainer.position.statistics))
    own = [node.name for node in graph.nodes if node.built.parameters]
    with torch.no_grad():
        for module, name in zip([m for m in theirs if [*m.parameters()]], own, strict=True):
            if f"{name}.W" in views:
                W = views[f"{name}.W"]
                module.weight.copy_(torch.tensor(np.moveaxis(W, (-1, -2), (0, 1)).copy()))
                module.bias.copy_(torch.tensor(views[f"{name}.b"]))
                continue
            arrays = (module.weight, module.bias, module.running_mean, module.running_var)
            for array, key in zip(arrays, ("scale", "offset", "mean", "variance"), strict=True):
                array.copy_(torch.tensor(views[f"{name}.{key}"]))
        predicted = theirs.eval()(names["x"]).numpy()
    x = np.asarray(load("digits", validation=0.3, test=0.0, seed=0).training.x)
    np.testing.assert_allclose(
        predicted, graph.predict(trainer.position.parameters, x, trainer.position.statistics), atol=1e-5
    )


def test_what_it_does_not_support_is_named(tmp_path):
    with pytest.raises(SettingError, match="code for PyTorch does not support AveragePool; choose another layer"):
        export(trainer_of("conv 4 3x3, average_pool 2 padding=same, flatten, 10", tmp_path / "run"), "torch")


@pytest.mark.parametrize("layers", ["conv 4 3x3, layer_norm, flatten, 10", "batch_norm, flatten, 10"])
def test_a_layer_that_takes_the_other_order_of_axes_is_named(layers, tmp_path):
    with pytest.raises(SettingError, match=r"PyTorch does not support (LayerNorm|BatchNorm) on [23] axes"):
        export(trainer_of(layers, tmp_path / "run"), "torch")
