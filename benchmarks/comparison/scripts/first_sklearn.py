"""Import scikit-learn and train a small network for one step."""

import numpy as np
from sklearn.neural_network import MLPClassifier

x = np.random.default_rng(0).normal(size=(32, 30)).astype(np.float32)
MLPClassifier((64, 32), batch_size=32, alpha=0).partial_fit(x, (x[:, 0] > 0).astype(np.int64), classes=[0, 1])
