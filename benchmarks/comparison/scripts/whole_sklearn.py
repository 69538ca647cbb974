"""scikit-learn's MLPClassifier from an empty process to a network that tells digits apart: whole_sklearn.py DATA [best]

With its own settings; with "best" in the quickest way that we found to come to the accuracy of `chainrule train`.
"""

import sys
import warnings

from digits import split
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")  # that it did not converge
x, held_x, y, held_y = split(sys.argv[1])
best = {"hidden_layer_sizes": (256,), "alpha": 0.1} if "best" in sys.argv and sys.argv[1] != "digits" else {}
made = MLPClassifier(random_state=0, **best)
made.fit(x, y)
print(f"test accuracy {100 * made.score(held_x, held_y):.1f} %")
