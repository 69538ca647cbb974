"""The code for PyTorch of convolutional networks: with the same weights it predicts the same."""

import numpy as np
import pytest

from chainrule.data import load
from chainrule.errors import SettingError
from chainrule.interchange.torch_code import code_of
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
        (CONVOLUTIONS, ["Conv2d(1, 4, (3, 3), (1, 1), (1, 1)", "MaxPool2d((2, 2), (2, 2))", "ZeroPad2d((0, 1, 0, 1))",
                        "Conv2d(4, 6, (3, 3), (2, 2), (0, 0)", "BatchNorm2d(6", "Linear(24, 8, True)"]),
        ("conv 4 3x3, max_pool 2 padding=same, flatten, 10", ["MaxPool2d((2, 2), (2, 2))"]),
        ("conv 4 3x3, layer_norm, average_pool 2, flatten, 8 prelu, 10", ["AvgPool2d((2, 2), (2, 2)", "LayerNorm(4"]),
        ("conv 4 3x2 dilation=2 relu, global_average_pool, 10", ["Conv2d(1, 4, (3, 2)", ".mean((1, 2))"]),
        ("gru 6, 10", ["Linear(8, 18, True)"]),
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
    graph, position = trainer.plan.network, trainer.position
    arrays = dict(graph.parameters.views(position.parameters)) | dict(graph.statistics.views(position.statistics))
    held = {name: torch.tensor(array.copy()) for name, array in arrays.items()}
    with torch.no_grad():
        for line in code_of(graph).loaded:
            exec(line, names | {"held": held})
        predicted = names["network"].eval()(names["x"]).numpy()
    x = np.asarray(load("digits", validation=0.3, test=0.0, seed=0).training.x)
    np.testing.assert_allclose(predicted, graph.predict(position.parameters, x, position.statistics), atol=1e-5)


def test_every_parameter_is_drawn(tmp_path):
    trainer = trainer_of("conv 4 3x3, layer_norm, flatten, 8 prelu, 10", tmp_path / "run")
    code, network = export(trainer, "torch"), trainer.plan.network
    assert code.count("nn.init.") == len(network.parameters.entries)


def test_what_it_does_not_support_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"code for PyTorch does not support 1 layer: average_pool_1 \(AveragePool"):
        export(trainer_of("conv 4 3x3, average_pool 2 padding=same stride=1, flatten, 10", tmp_path / "run"), "torch")
