"""Import chainrule and train a small network for one step."""

import numpy as np

import chainrule

x = np.random.default_rng(0).normal(size=(32, 30)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
data = chainrule.from_arrays(x, y, task="classification")
trained = chainrule.train("64 relu, 32 relu", data, optimizer="adam 0.001", batch_size=32, epochs=1, patience=None)
assert trained.progress.position.step == 1
