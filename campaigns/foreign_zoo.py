"""The networks that foreign_models.py imports: PyTorch's modules, torchvision's networks,
scikit-learn's and Keras'.
"""

from __future__ import annotations

import numpy as np

SMALL, PATCHES, CLIP = (3, 64, 64), (3, 224, 224), (3, 4, 32, 32)
PICTURES = {
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
"""torchvision's networks for classes of pictures, each with the smallest pictures that suit it."""
SEGMENTATION = dict.fromkeys([
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplabv3_resnet101",
    "lraspp_mobilenet_v3_large"], SMALL)  # fmt: skip
VIDEO = {
    **dict.fromkeys(["r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t", "swin3d_s", "swin3d_b"], CLIP),
    "s3d": (3, 14, 224, 224),
}  # fmt: skip
ZOO = PICTURES | SEGMENTATION | VIDEO
DETECTION = dict.fromkeys([
    "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large"], SMALL)  # fmt: skip
FLOW = {key: [(3, 128, 128), (3, 128, 128)] for key in ["raft_small", "raft_large"]}
MULTISCALE = dict.fromkeys(["mvit_v1_b", "mvit_v2_s"], (3, 16, 224, 224))
REFUSED = DETECTION | FLOW | MULTISCALE
"""Networks that no layers here express: their import has to say why."""
LEFT_OUT = {
    "regnet_y_128gf": "645 million weights; built as regnet_y_32gf",
    "vit_h_14": "633 million weights; built as vit_l_16",
}
"""Networks that are not tried, and why."""


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
    elif name.startswith("vit"):
        options = {"image_size": 64}
    elif name == "maxvit_t":
        options = {"input_size": (224, 224)}
    elif name in SEGMENTATION | DETECTION:
        options = {"weights_backbone": None}
    return models.get_model(name, weights=None, **options)


def untried():
    """Names of torchvision's networks that are in none of these lists; quantized ones are of whole
    numbers, and copies of others.
    """
    known = {*ZOO, *REFUSED, *LEFT_OUT}
    return [n for n in torchvision_models().list_models() if n not in known and not n.startswith("quantized")]


def calling(make, call):
    """A module with a part, which it calls."""
    from torch import nn

    class Calling(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = make()

        def forward(self, *xs):
            return call(self.part, *xs)

    return Calling()


def text():
    """A classifier of texts: an embedding, a GRU, a softmax."""
    from torch import nn

    make = lambda: nn.ModuleList([nn.Embedding(50, 16), nn.GRU(16, 12, batch_first=True), nn.Linear(12, 4)])  # noqa: E731
    return calling(make, lambda part, x: part[2](part[1](part[0](x))[1][-1]).softmax(-1))


def modules():
    """PyTorch's own modules: a function that makes each, and the shape of a sample."""
    import torch

    tokens = torch.zeros(1, 11, dtype=torch.long)
    return _activations() | _pictures() | _sequences() | {"Embedding, GRU, softmax": (text, tokens)}


def _activations():
    from torch import nn

    dense = lambda *layers: lambda: nn.Sequential(nn.Linear(12, 16), *layers, nn.LazyLinear(3))  # noqa: E731
    kinds = [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
             nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Sigmoid, nn.LogSigmoid, nn.Hardswish,
             nn.Hardsigmoid, nn.Hardtanh, nn.Identity, nn.GLU]  # fmt: skip
    more = [nn.CELU(0.5), nn.Softplus(2.0), nn.Softmin(-1), nn.Softmax(-1), nn.LogSoftmax(-1), nn.Threshold(0.0, 0.0)]
    found = {f"Linear, {a.__name__}": (dense(a()), (12,)) for a in kinds}
    found |= {f"Linear, {a}": (dense(a), (12,)) for a in more}
    found["Linear, Dropout, BatchNorm1d"] = dense(nn.Dropout(), nn.BatchNorm1d(16)), (12,)
    found["Linear, AlphaDropout, Unflatten"] = dense(nn.AlphaDropout(), nn.Unflatten(1, (4, 4)), nn.Flatten()), (12,)
    found["Linear, LayerNorm, RMSNorm"] = dense(nn.LayerNorm(16), nn.RMSNorm(16)), (12,)
    return found


def _pictures():
    from torch import nn

    conv = lambda *layers: lambda: nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.Flatten(), nn.LazyLinear(5))  # noqa: E731
    line = lambda *layers: lambda: nn.Sequential(nn.Conv1d(4, 8, 3), *layers, nn.Flatten(), nn.LazyLinear(2))  # noqa: E731
    solid = lambda *layers: lambda: nn.Sequential(nn.Conv3d(2, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(2))  # noqa: E731
    picture, row, block = (3, 16, 16), (4, 20), (2, 8, 8, 8)
    return {
        "Conv1d, AdaptiveAvgPool1d": (line(nn.ReLU(), nn.AdaptiveAvgPool1d(1)), row),
        "Conv1d, MaxPool1d, BatchNorm1d": (line(nn.MaxPool1d(2), nn.BatchNorm1d(8)), row),
        "Conv1d, AvgPool1d, InstanceNorm1d": (line(nn.AvgPool1d(2), nn.InstanceNorm1d(8)), row),
        "Conv1d, ConvTranspose1d": (line(nn.ConvTranspose1d(8, 4, 4, 2, 1)), row),
        "Conv2d, MaxPool2d": (conv(nn.MaxPool2d(3, 2, 1)), picture),
        "Conv2d, AvgPool2d with padding": (conv(nn.AvgPool2d(3, 2, 1)), picture),
        "Conv2d, MaxPool2d in ceil_mode": (conv(nn.MaxPool2d(3, 2, ceil_mode=True)), picture),
        "Conv2d, AdaptiveAvgPool2d": (conv(nn.AdaptiveAvgPool2d((3, 5))), picture),
        "Conv2d, AdaptiveMaxPool2d": (conv(nn.AdaptiveMaxPool2d((3, 5))), picture),
        "Conv2d, GroupNorm, InstanceNorm2d": (conv(nn.GroupNorm(4, 8), nn.InstanceNorm2d(8)), picture),
        "Conv2d, BatchNorm2d, Dropout2d, Softmax2d": (conv(nn.BatchNorm2d(8), nn.Dropout2d(), nn.Softmax2d()), picture),
        "Conv2d, dilation, groups": (conv(nn.Conv2d(8, 8, 3, dilation=2, groups=4, padding="same")), picture),
        "Conv2d, ConvTranspose2d": (conv(nn.ConvTranspose2d(8, 4, 3, 2, 1, groups=2)), picture),
        "Conv2d, Upsample, PixelShuffle": (conv(nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)),
                                           (3, 8, 8)),
        "Conv2d, PixelUnshuffle, ChannelShuffle": (conv(nn.PixelUnshuffle(2), nn.ChannelShuffle(4)), picture),
        "Conv2d, ZeroPad2d, CircularPad2d": (conv(nn.ZeroPad2d((1, 2, 0, 1)), nn.CircularPad2d(2)), picture),
        "Conv3d": (solid(nn.ReLU()), block),
        "Conv3d, MaxPool3d, BatchNorm3d": (solid(nn.MaxPool3d(2), nn.BatchNorm3d(4)), block),
        "Conv3d, AvgPool3d, InstanceNorm3d": (solid(nn.AvgPool3d(2), nn.InstanceNorm3d(4)), block),
        "Conv3d, ConvTranspose3d": (solid(nn.ConvTranspose3d(4, 2, 2, 2)), block),
    }  # fmt: skip


def _sequences():
    from torch import nn

    make = lambda kind: lambda: kind(32, 4, 64, batch_first=True, activation="gelu")  # noqa: E731
    return {
        "RNN": (lambda: nn.RNN(6, 8, batch_first=True), (9, 6)),
        "RNN, relu, 2 layers": (lambda: nn.RNN(6, 8, 2, "relu", batch_first=True), (9, 6)),
        "LSTM": (lambda: nn.LSTM(6, 8, batch_first=True), (9, 6)),
        "LSTM, 2 layers, bidirectional": (lambda: nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True), (9, 6)),
        "GRU, 2 layers": (lambda: nn.GRU(6, 8, 2, batch_first=True), (9, 6)),
        "GRU, bidirectional": (lambda: nn.GRU(6, 8, batch_first=True, bidirectional=True), (9, 6)),
        "MultiheadAttention": (lambda: calling(lambda: nn.MultiheadAttention(32, 4, batch_first=True),
                                               lambda part, x: part(x, x, x, need_weights=False)[0]), (10, 32)),
        "TransformerEncoder": (lambda: nn.TransformerEncoder(make(nn.TransformerEncoderLayer)(), 2), (10, 32)),
        "TransformerEncoder, causal": (lambda: calling(
            lambda: nn.TransformerEncoder(make(nn.TransformerEncoderLayer)(), 2),
            lambda part, x: part(x, nn.Transformer.generate_square_subsequent_mask(10), is_causal=True)), (10, 32)),
        "TransformerDecoder": (lambda: nn.TransformerDecoder(make(nn.TransformerDecoderLayer)(), 2),
                               [(10, 32), (7, 32)]),
        "Transformer": (lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True), [(10, 32), (7, 32)]),
    }  # fmt: skip


def refused_modules():
    """PyTorch's modules that no layers here express, in the same form."""
    import torch
    from torch import nn

    conv = lambda *layers: lambda: nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.Flatten(), nn.LazyLinear(5))  # noqa: E731
    dense = lambda *layers: lambda: nn.Sequential(nn.Linear(12, 16), *layers, nn.Linear(16, 3))  # noqa: E731
    both = lambda kind: lambda: calling(lambda: nn.ModuleList([nn.Linear(12, 5), kind]),  # noqa: E731
                                        lambda part, x: part[1](part[0](x), part[0](2 * x)))  # fmt: skip
    picture = (3, 16, 16)
    return {
        "Hardshrink": (dense(nn.Hardshrink()), (12,)), "Softshrink": (dense(nn.Softshrink()), (12,)),
        "Bilinear": (both(nn.Bilinear(5, 5, 3)), (12,)),
        "CosineSimilarity": (both(nn.CosineSimilarity()), (12,)),
        "PairwiseDistance": (both(nn.PairwiseDistance()), (12,)),
        "ReflectionPad2d": (conv(nn.ReflectionPad2d(1)), picture),
        "ReplicationPad2d": (conv(nn.ReplicationPad2d(1)), picture),
        "ConstantPad2d": (conv(nn.ConstantPad2d(1, 0.5)), picture),
        "LPPool2d": (conv(nn.LPPool2d(3, 2)), picture), "LocalResponseNorm": (conv(nn.LocalResponseNorm(3)), picture),
        "FractionalMaxPool2d": (conv(nn.FractionalMaxPool2d(2, output_size=5)), picture),
        "Unfold": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Unfold(2), nn.Flatten(), nn.LazyLinear(2)), picture),
        "Upsample, bicubic": (conv(nn.Upsample(scale_factor=2, mode="bicubic")), picture),
        "Upsample, aligned corners": (conv(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)), picture),
        "InstanceNorm2d with statistics": (conv(nn.InstanceNorm2d(8, track_running_stats=True)), picture),
        "LSTM with projections": (lambda: nn.LSTM(6, 8, proj_size=3, batch_first=True), (9, 6)),
        "EmbeddingBag": (lambda: nn.Sequential(nn.EmbeddingBag(20, 4), nn.Linear(4, 2)),
                         torch.zeros(1, 7, dtype=torch.long)),
    }  # fmt: skip


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
        ("MLPClassifier, logistic", MLPClassifier((8,), activation="logistic", max_iter=30), load_iris),
        ("MLPRegressor, StandardScaler", make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", max_iter=30)),
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
        "Keras: SeparableConv2D, GlobalAveragePooling2D": (
            [layers.Input((16, 16, 3)), layers.SeparableConv2D(8, 3, activation="silu"),
             layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")], (16, 16, 3)),
    }  # fmt: skip
    for name, (parts, shape) in make.items():
        model = keras.Sequential(parts)
        path = folder / "keras.onnx"
        x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
        signature = [keras.InputSpec(shape=(1, *shape), dtype="float32", name="x")]
        model.export(path, format="onnx", verbose=False, input_signature=signature)
        yield name, path, np.asarray(keras.ops.convert_to_numpy(model(x))), x
