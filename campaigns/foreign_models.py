"""Networks made elsewhere, imported: PyTorch's and torchvision's zoos, scikit-learn's and Keras'.

    python campaigns/foreign_models.py                  # all
    python campaigns/foreign_models.py resnet18 swin_t  # some
    python campaigns/foreign_models.py --write docs/interchange-models.md

Each has random weights, also in its running statistics and where its own start at 0. Its predictions
on two samples are compared with those of the module, and its parameters, bit for bit, with the
module's. It needs the extra "peers" and torchvision (pip install --no-deps torchvision==0.28.0);
scikit-learn's and Keras' also skl2onnx, keras and onnxruntime.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
os.environ.setdefault("KERAS_BACKEND", "torch")
LIMIT = 1e-5
"""How far predictions may differ, as a share of the largest, or of 1."""
SMALL, PATCHES = (3, 64, 64), (3, 224, 224)
ZOO = {
    **dict.fromkeys(["alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small",
                     "mobilenet_v3_large", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"], SMALL),
    **dict.fromkeys([f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")], SMALL),
    **dict.fromkeys(["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
                     "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"], SMALL),
    **dict.fromkeys(["densenet121", "densenet161", "densenet169", "densenet201"], SMALL),
    **dict.fromkeys([f"shufflenet_v2_x{n}" for n in ("0_5", "1_0", "1_5", "2_0")], SMALL),
    "googlenet": SMALL, "inception_v3": (3, 75, 75),
    **dict.fromkeys([f"efficientnet_b{n}" for n in range(8)] + [f"efficientnet_v2_{n}" for n in "sml"], SMALL),
    **dict.fromkeys([f"regnet_{k}_{n}" for k in "xy" for n in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf",
                                                              "32gf")], SMALL),
    **dict.fromkeys([f"convnext_{n}" for n in ("tiny", "small", "base", "large")], SMALL),
    **dict.fromkeys(["vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32"], SMALL),
    **dict.fromkeys([f"swin{v}_{n}" for v in ("", "_v2") for n in "tsb"], SMALL),
    "maxvit_t": PATCHES,
}  # fmt: skip
"""The networks of torchvision for pictures, each with the smallest pictures that suit it. Left out
are regnet_y_128gf and vit_h_14: as the others of their kind, with 645 and 633 million weights.
"""


def torchvision_models():
    """torchvision's networks; where its compiled operators don't load, they are not needed."""
    import torch

    real = torch.library.register_fake
    torch.library.register_fake = lambda *_, **__: lambda function: function
    try:
        from torchvision import models
    finally:
        torch.library.register_fake = real
    return models


def zoo(name):
    """A network of torchvision."""
    models, options = torchvision_models(), {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": False}
    if name.startswith("vit"):
        options = {"image_size": 64}
    if name == "maxvit_t":
        options = {"input_size": (224, 224)}
    return getattr(models, name)(weights=None, **options)


def attention():
    """A module that calls MultiheadAttention on one sequence."""
    from torch import nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    return Attention()


def text():
    """A classifier of texts: an embedding, a GRU, a softmax."""
    from torch import nn

    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.gru = nn.Embedding(50, 16), nn.GRU(16, 12, batch_first=True)
            self.output = nn.Linear(12, 4)

        def forward(self, x):
            return self.output(self.gru(self.embedding(x))[1][-1]).softmax(-1)

    return Text()


def modules():
    """PyTorch's own modules: a function that makes each, and the shape of a sample."""
    import torch
    from torch import nn

    dense = lambda *layers: lambda: nn.Sequential(nn.Linear(12, 16), *layers, nn.Linear(16, 3))  # noqa: E731
    conv = lambda *layers: lambda: nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.Flatten(), nn.LazyLinear(5))  # noqa: E731
    activations = [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
                   nn.Softsign, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh]  # fmt: skip
    found = {f"Linear, {a.__name__}": (dense(a()), (12,)) for a in activations}
    found |= {
        "Linear, Dropout, BatchNorm1d": (dense(nn.Dropout(), nn.BatchNorm1d(16)), (12,)),
        "Linear, LayerNorm, RMSNorm": (dense(nn.LayerNorm(16), nn.RMSNorm(16)), (12,)),
        "Conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                                         nn.Linear(8, 2)), (4, 20)),
        "Conv2d, MaxPool2d": (conv(nn.MaxPool2d(3, 2, 1)), (3, 16, 16)),
        "Conv2d, AvgPool2d with padding": (conv(nn.AvgPool2d(3, 2, 1)), (3, 16, 16)),
        "Conv2d, MaxPool2d in ceil_mode": (conv(nn.MaxPool2d(3, 2, ceil_mode=True)), (3, 16, 16)),
        "Conv2d, AdaptiveAvgPool2d": (conv(nn.AdaptiveAvgPool2d((3, 5))), (3, 16, 16)),
        "Conv2d, GroupNorm, InstanceNorm2d": (conv(nn.GroupNorm(4, 8), nn.InstanceNorm2d(8)), (3, 16, 16)),
        "Conv2d, dilation, groups": (conv(nn.Conv2d(8, 8, 3, dilation=2, groups=4, padding="same")), (3, 16, 16)),
        "Conv2d, ConvTranspose2d": (conv(nn.ConvTranspose2d(8, 4, 3, 2, 1, groups=2)), (3, 16, 16)),
        "Conv2d, Upsample, PixelShuffle": (conv(nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)),
                                           (3, 8, 8)),
        "Conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)), (2, 6, 7, 8)),
        "RNN": (lambda: nn.RNN(6, 8, batch_first=True), (9, 6)),
        "LSTM, 2 layers, bidirectional": (lambda: nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True), (9, 6)),
        "GRU, 2 layers": (lambda: nn.GRU(6, 8, 2, batch_first=True), (9, 6)),
        "MultiheadAttention": (attention, (10, 32)),
        "TransformerEncoder": (lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu"), 2), (10, 32)),
        "Transformer": (lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True), [(10, 32), (7, 32)]),
        "Embedding, GRU, softmax": (text, torch.zeros(1, 11, dtype=torch.long)),
    }  # fmt: skip
    return found


def randomized(module, shape):
    """The module with numbers everywhere: also where its weights and statistics start at 0 or 1."""
    import torch

    torch.manual_seed(0)
    module.eval()
    with torch.no_grad():
        if any(isinstance(p, torch.nn.UninitializedParameter) for p in module.parameters()):
            module(torch.zeros(1, *shape))
        for p in module.parameters():
            if p.std() == 0 or p.numel() == 1:
                torch.nn.init.normal_(p, p.flatten()[0].item(), 0.02)
        for b in module.modules():
            if getattr(b, "running_mean", None) is not None:
                b.running_mean.normal_(0, 0.1)
                b.running_var.uniform_(0.5, 1.5)
    return module


def imported(module, shape):
    """(weights, largest difference as a share, weights whose bits are not the module's)"""
    import chainrule
    from chainrule.interchange import reading

    differences, compare = [], reading.compare

    def kept(*arguments):
        differences.append(compare(*arguments))
        return differences[-1]

    reading.compare = kept
    try:
        trained = chainrule.from_torch(module, shape)
    finally:
        reading.compare = compare
    ours = np.sort(trained.parameters)
    theirs = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    other = len(theirs) - np.isin(theirs, ours).sum()
    return trained.plan.network.parameters.size, differences[0], int(other)


def sklearn_models(folder):
    """(name, path of ONNX, predictions, samples) of scikit-learn's networks."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for name, model, data in (
        ("MLPClassifier", MLPClassifier((16, 8), max_iter=30), load_iris),
        ("MLPClassifier of two classes, StandardScaler", make_pipeline(StandardScaler(), MLPClassifier(max_iter=30)),
         load_breast_cancer),
        ("MLPRegressor, StandardScaler", make_pipeline(
            StandardScaler(), MLPRegressor((16,), activation="tanh", max_iter=30)),
         load_diabetes),
    ):  # fmt: skip
        x, y = data(return_X_y=True)
        model.fit(x, y)
        x = x[:50].astype(np.float32)
        path = folder / "sklearn.onnx"
        path.write_bytes(to_onnx(model, x[:1]).SerializeToString())
        yield name, path, model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)[:, None], x


def keras_models(folder):
    """The same of Keras'."""
    import keras
    from keras import layers

    make = {
        "Keras: Conv2D, MaxPooling2D, Dense, softmax": (
            [layers.Input((16, 16, 3)), layers.Conv2D(8, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
             layers.BatchNormalization(), layers.Flatten(), layers.Dense(5, activation="softmax")], (16, 16, 3)),
        "Keras: Dense, LayerNormalization, gelu": (
            [layers.Input((12,)), layers.Dense(16, activation="gelu"), layers.LayerNormalization(), layers.Dense(2)],
            (12,)),
    }  # fmt: skip
    for name, (parts, shape) in make.items():
        model = keras.Sequential(parts)
        path = folder / "keras.onnx"
        x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
        signature = [keras.InputSpec(shape=(1, *shape), dtype="float32", name="x")]
        model.export(path, format="onnx", verbose=False, input_signature=signature)
        yield name, path, np.asarray(keras.ops.convert_to_numpy(model(x))), x


def main() -> int:
    """Import all, or those that are named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    rows, failed = [], 0

    def row(name, weights, difference, note):
        nonlocal failed
        is_far = difference is None or not difference <= LIMIT
        failed += is_far
        shown = "" if difference is None else f"{difference:.1e}"
        rows.append(f"| {name} | {weights:,} | {shown} | {note} |")
        print(f"{'FAILED ' if is_far else ''}{name:46s} {weights:13,} {shown:9s} {note}", flush=True)

    def wanted(name):
        return not arguments.names or name in arguments.names

    made = {name: (lambda name=name: zoo(name), shape) for name, shape in ZOO.items()}
    for name, (make, shape) in (modules() | made).items():
        if not wanted(name):
            continue
        began = time.perf_counter()
        try:
            module = randomized(make(), shape)
            weights, difference, other = imported(module, shape)
            note = "all bits" if not other else f"{other:,} numbers are not the module's"
            row(name, weights, difference, f"{note}, {time.perf_counter() - began:.0f} s")
        except Exception as error:
            row(name, 0, None, str(error)[:300])
        gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        for models in (sklearn_models, keras_models):
            if arguments.names and models.__name__ not in arguments.names:
                continue
            _files(models, Path(folder), row)
    if arguments.write:
        head = ["| network | weights | largest difference | |", "| --- | ---: | ---: | --- |"]
        arguments.write.write_text("\n".join([*head, *rows, ""]))
    print(f"{len(rows)} networks, {failed} failed")
    return int(failed > 0)


def _files(models, folder, row):
    """Import files of ONNX."""
    import chainrule

    try:
        for name, path, expected, x in models(folder):
            trained = chainrule.from_onnx(path)
            found = trained.probabilities(x)
            found = trained.raw(x) if found is None else found
            share = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
            row(name, trained.plan.network.parameters.size, float(share), trained.target.about)
    except Exception as error:
        row(models.__name__, 0, None, f"{type(error).__name__}: {str(error)[:300]}")


if __name__ == "__main__":
    raise SystemExit(main())
