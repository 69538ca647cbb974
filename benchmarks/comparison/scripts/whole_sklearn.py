"""Train a classifier of digits with scikit-learn: whole_sklearn.py DATA [best]

With default settings; with "best", the fastest settings tried that are as accurate as `chainrule
train`.
"""

import sys
import warnings

from digits import split
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")  # ConvergenceWarning
x, test_x, y, test_y = split(sys.argv[1])
best = {"hidden_layer_sizes": (256,), "alpha": 0.1} if "best" in sys.argv and sys.argv[1] != "digits" else {}
classifier = MLPClassifier(random_state=0, **best)
classifier.fit(x, y)
print(f"test accuracy {100 * classifier.score(test_x, test_y):.1f} %")
