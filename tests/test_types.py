"""What type checkers see in a user's script: types everywhere, and mistakes."""

import re
import subprocess
import sys
from pathlib import Path

from waiting import WAIT

CACHE = Path(__file__).parents[1] / ".mypy_cache" / "user"

SCRIPT = """
import polars

import chainrule
from chainrule import layers, losses
from chainrule.descent import optimizer, optimizers, schedules, stages
from chainrule.explain import explain

dense = layers.Dense(64, activation="relu", weights="he_normal")
network = chainrule.Network([dense, chainrule.layers.Dropout(0.2), layers.Dense(1)], input_shape=4)
x = chainrule.Input(3)
data = chainrule.load("iris", validation=0.2)
adam = optimizers.adam(schedules.Cosine(0.001)).first(stages.ClipGlobalNorm(1.0))
trained = chainrule.train("8 tanh", data, epochs=2, optimizer=adam, loss=losses.CategoricalCrossEntropy())
run = chainrule.Run.open("runs/iris-1")
x_frame = polars.DataFrame({"a": [1.0]})
classifier = chainrule.Classifier("8 tanh", threshold="f1", order=["low", "high"])
e = explain(run, "dense_1.W[0, 0]", step=3)
tuned = chainrule.tune(x_frame, trials=2, target="a", split="time:t", loss="huber")
assert data.settings is not None
settings = data.settings
trained.evaluate((x_frame, [1.0]), weight="w")
trained.predict(data.training.x)
classifier.fit([[1.0], [2.0]], ["a", "b"], sample_weight=[1.0, 2.0]).predict(x_frame)
"""

STATUSES = ("under way", "complete", "early", "stopped", "interrupted", "diverged", "imported")
SEEN = {
    "dense": "Dense",
    "dense.units": "int",
    "dense.activation": "str | Layer | None",
    "dense.weights": "str | Distribution | float | Frozen | None",
    "layers.Branches([dense, [dense, dense]]).branches": "Sequence[Layer | Sequence[Layer]]",
    "layers.Sequential([dense]).children": "Mapping[str, Layer]",
    "dense(x)": "Symbol",
    "x + x": "Symbol",
    "chainrule.Network(inputs=x, outputs=dense(x))": "Network",
    "network.layers": "tuple[Layer, ...]",
    "network.input_shape": "tuple[int, ...]",
    "network.output_shape": "tuple[int, ...]",
    "network.parameters.size": "int",
    "chainrule.losses.Huber(0.5)": "Huber",
    "losses.loss('huber').task": "str | None",
    "losses.l2(0.1)": "Penalty",
    "chainrule.descent.optimizer('adam')": "Optimizer",
    "adam.stages": "tuple[Stage, ...]",
    "schedules.Cosine(0.1)(3)": "float",
    "chainrule.distributions.Normal(0, 1)": "Normal",
    "data": "Dataset",
    "data.target.classes": "tuple[str | int | float | bool, ...]",
    "data.input_names": "list[str]",
    "data.columns[0].role": "str",
    "data.training.x": "ndarray[tuple[Any, ...], dtype[Any]] | Deferred",
    "trained": "Trained",
    "trained.evaluate()": "dict[str, float]",
    "trained.history": "tuple[dict[str, float], ...]",
    "trained.plan.network": "Network",
    "trained.plan.patience": "int | None",
    "trained.reason": "str",
    "run.trained.progress.epoch": "int",
    "run.manifest['status']": " | ".join(f"Literal['{s}']" for s in STATUSES),
    "run.data['rows']['training']": "int",
    "run.checkpoints": "list[int]",
    "run.resume(epochs=9)": "Trained",
    "e.gradient": "float",
    "e.samples[0].product": "float",
    "e.chain": "ChainLink | None",
    "e.stages[0].formula": "str",
    "e.proof.numerical_gradient": "float",
    "chainrule.learning_rate_range('8', 'iris').suggestion": "float",
    "chainrule.check_gradient": None,
    "chainrule.plane_set('moons')": "Source",
    "chainrule.Recorder('runs/a').folder": "Path",
    "classifier.fit(x_frame, [1, 2])": "Classifier",
    "classifier.set_params(epochs=3)": "Classifier",
    "classifier.score(x_frame, [1, 2])": "float",
    "classifier.network": "str | Layer | Sequence[Layer] | Network | None",
    "classifier.trained_.history": "tuple[dict[str, float], ...]",
    "classifier.threshold": None,
    "trained.data": "Dataset | None",
    "trained.report().classes[0].label": "str | int | float | bool",
    "run.resume(x_frame)": "Trained",
    "chainrule.tune('moons', trials=2)": "Tuned",
    "tuned.best.value": "float | None",
    "tuned.best.settings.get('network')": "str | None",
    "tuned.best.settings['batch_size']": "int",
    "tuned.fixed['epochs']": "int | None",
    "settings['seed']": "int",
    "settings['target']": "str | list[str] | None",
    "settings['image_size']": "tuple[int, int] | None",
    "settings.get('weight')": "str | None",
    "chainrule.ProgressBar()": "ProgressBar",
    "chainrule.TensorBoard('logs')": "TensorBoard",
    "chainrule.MLflow().run_id": "str | None",
    "chainrule.errors.NonFiniteError(1, 'a', 'b', 'c').step": "int",
}
"""Expressions, and what mypy reveals of each, without the names of modules; None for anything but
Any.
"""

ARRAYS = (
    "trained.predict(data.test)",
    "trained.probabilities(data.test)",
    "trained.held_out().targets",
    "trained.interval(data.test).lower",
    "chainrule.Regressor().predict_interval(x_frame).upper",
    "classifier.predict(x_frame)",
    "classifier.predict_proba(x_frame)",
    "classifier.decision_function(x_frame)",
    "classifier.feature_names_in_",
)
"""These are NumPy's arrays, whose dtype depends on the data."""

WRONG = {
    "chainrule.trian('8', 'iris')": 'Module has no attribute "trian"',
    "layers.Dense('64')": 'Argument 1 to "Dense" has incompatible type "str"; expected "int"',
    "chainrule.train('8', 'iris', epochs='2')": 'expected "int | None"',
    "chainrule.train(8, 'iris')": 'Argument 1 to "train" has incompatible type "int"',
    "classifier.fti(x_frame, [1])": '"Classifier" has no attribute "fti"',
    "chainrule.Regressor(epochs='3')": 'expected "int | None"',
    "chainrule.load(3)": 'Argument 1 to "load" has incompatible type "int"',
    "losses.Huber(delta='1')": 'expected "float"',
    "classifier.fit(object(), [1])": 'Argument 1 to "fit" of "Estimator" has incompatible type "object"',
    "chainrule.Regressor().fit(x_frame, object())": 'Argument 2 to "fit" of "Estimator" has incompatible type "object"',
    "classifier.predict(None)": 'Argument 1 to "predict" of "Classifier" has incompatible type "None"',
    "trained.predict(object())": 'Argument 1 to "predict" of "Trained" has incompatible type "object"',
    "trained.evaluate(3)": 'Argument 1 to "evaluate" of "Trained" has incompatible type "int"',
    "chainrule.tune('iris', split=3)": 'Argument "split" to "tune" has incompatible type "int"',
    "chainrule.tune('iris', tagret='a')": 'Unexpected keyword argument "tagret" for "tune"',
    "chainrule.learning_rate_range(data='iris', losss='mse')": 'Unexpected keyword argument "losss"',
    "settings['sed']": 'TypedDict "Settings" has no key "sed"',
    "tuned.best.settings['widht']": 'TypedDict "Suggested" has no key "widht"',
    "trained.evaluate()['r2'].upper()": '"float" has no attribute "upper"',
}


def checked(tmp_path, lines):
    """What mypy says of each of these lines, after the script."""
    path = tmp_path / "user.py"
    path.write_text(SCRIPT + "".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", CACHE, path]
    output = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=10 * WAIT, cwd=tmp_path
    ).stdout
    first = SCRIPT.count("\n") + 1
    said = [[] for _ in lines]
    for number, message in re.findall(r"user\.py:(\d+): \w+: (.*)", output):
        assert int(number) >= first, message
        said[int(number) - first].append(message)
    return said


def test_a_users_script_has_no_any_and_its_mistakes_are_found(tmp_path):
    seen, revealed = [*SEEN, *ARRAYS], "Revealed type is "
    said = checked(tmp_path, [*(f"reveal_type({expression})" for expression in seen), *WRONG])
    for expression, messages in zip(seen, said, strict=False):
        assert len(messages) == 1, (expression, messages)
        message = messages[0]
        assert message.startswith(revealed), (expression, message)
        bare = re.sub(r"[\w.]+\.(?=\w)", "", message.removeprefix(revealed).strip('"'))
        if expression in ARRAYS:
            assert bare.removesuffix(" | None") == "ndarray[tuple[Any, ...], dtype[Any]]", expression
        elif SEEN[expression] is None:
            assert bare != "Any"
        else:
            assert bare == SEEN[expression], expression
    for (line, part), messages in zip(WRONG.items(), said[len(seen) :], strict=True):
        assert any(part in message for message in messages), (line, messages)
