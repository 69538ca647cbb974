"""How long the prediction of a single picture takes, beside ONNX Runtime and PyTorch.

All predict with the same weights, after the same training, from the same numbers, those of a
picture that is scaled already; their outputs must agree to 1e-3. Scaling is measured as well: the
row "from a raw picture" is what a user of chainrule calls on pixels.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from chainrule.data import Prepared
from chainrule.runs.inputs import inputs
from chainrule.runs.trained import Trained
from chainrule.threads import BACKOFF
from comparison.epochs import REST
from comparison.pictures import NETWORKS, module

CALLS = 200
"""Predictions of a turn, and of its warm-up."""
Predict = Callable[[], np.ndarray]


def of_chainrule(trained: Trained, x: np.ndarray, raw: bool = False) -> Predict:
    """What a user calls, with all its checks, for a prepared picture; or for a raw one, with its
    scaling.
    """
    BACKOFF.forget()
    given = x if raw else np.asarray(inputs(trained.preparation, x)).view(Prepared)
    return lambda: trained.raw(given)


def channels_first(trained: Trained, x: np.ndarray) -> np.ndarray:
    """Scaled pictures in the order of the others."""
    return np.moveaxis(inputs(trained.preparation, x), -1, 1).copy()


def of_torch(trained: Trained, x: np.ndarray) -> Predict:
    """PyTorch without gradients."""
    import torch

    network = module(trained.plan.network, trained.parameters, trained.statistics).eval()
    theirs = torch.from_numpy(channels_first(trained, x))

    def predict() -> np.ndarray:
        with torch.inference_mode():
            return network(theirs).numpy()

    return predict


def of_onnx(trained: Trained, x: np.ndarray, threads: int) -> Predict:
    """ONNX Runtime, on the network as PyTorch exports it."""
    import onnxruntime
    import torch

    network = module(trained.plan.network, trained.parameters, trained.statistics).eval()
    theirs = channels_first(trained, x)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        torch.onnx.export(network, (torch.from_numpy(theirs),), file, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options)
    sample = {session.get_inputs()[0].name: theirs}
    return lambda: session.run(None, sample)[0]


PEERS: dict[str, Callable[[Trained, np.ndarray], Predict]] = {
    "chainrule": of_chainrule,
    "chainrule, from a raw picture": lambda trained, x: of_chainrule(trained, x, raw=True),
    "ONNX Runtime, 1 thread": lambda trained, x: of_onnx(trained, x, 1),
    "ONNX Runtime, 2 threads": lambda trained, x: of_onnx(trained, x, 2),
    "PyTorch": of_torch,
}


def measure(times: int) -> dict[str, list[dict[str, Any]]]:
    """Measure all networks: the median of turns, in each of which every peer predicts CALLS times."""
    results = {}
    random = np.random.default_rng(0)
    for name, (text, shape, *_) in NETWORKS.items():
        x = random.normal(size=(64, *shape)).astype(np.float32)
        trained = chainrule.train(
            text, (x, np.arange(64) % 10), epochs=1, validation=0, test=0, patience=None, progress=False
        )
        peers = {peer: make(trained, x[:1]) for peer, make in PEERS.items()}
        expected = peers["chainrule"]()
        for peer, predict in peers.items():
            np.testing.assert_allclose(predict(), expected, atol=1e-3, rtol=1e-4, err_msg=peer)
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(times):
            for peer, predict in peers.items():
                time.sleep(REST)  # while the threads of the one before still spin
                BACKOFF.forget()
                for _ in range(2):
                    began = time.perf_counter()
                    for _ in range(CALLS):
                        predict()
                    taken = (time.perf_counter() - began) / CALLS
                seconds[peer].append(taken)
        own = seconds["chainrule"]
        print(f"\n{name}: a single picture of {'x'.join(map(str, shape))}")
        results[name] = []
        for peer, taken in seconds.items():
            ratio = statistics.median(theirs / ours for theirs, ours in zip(taken, own, strict=True))
            results[name].append({"peer": peer, "microseconds": statistics.median(taken) * 1e6, "ratio": ratio})
            print(f"  {peer:30}{results[name][-1]['microseconds']:9.1f} µs, {ratio:5.2f} times chainrule's")
    return results
