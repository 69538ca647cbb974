"""Small pictures that one kernel of 3 x 3 weights tells apart: every number can be shown."""

from __future__ import annotations

import numpy as np

from chainrule.data.source import Source
from chainrule.generators import generator

SIDE, WIDE, MARGIN = 6, 2, 1
"""The sides of a picture, the width of its bar, and its distance from the edges, in pixels."""
SHADING = 0.3
"""Each pixel differs from black or white by up to this share of the range."""


def bars(samples: int = 400, seed: int = 0) -> Source:
    """Pictures of 6 x 6 pixels, each with a horizontal or a vertical bar, unevenly shaded.

    Args:
        samples: number of samples
        seed: seed of the bars' places and of the shading

    Examples:
        >>> bars(4).features.shape, bars(4).target.tolist()
        ((4, 6, 6), ['horizontal', 'vertical', 'horizontal', 'vertical'])
    """
    random = generator(seed, "bars")
    ink = np.zeros((samples, SIDE, SIDE))
    for number, first in enumerate(random.integers(MARGIN, SIDE - WIDE - MARGIN + 1, samples)):
        rows, columns = slice(first, first + WIDE), slice(None)
        ink[(number, rows, columns) if number % 2 == 0 else (number, columns, rows)] = 1
    ink = abs(ink - random.uniform(0, SHADING, ink.shape))
    classes = np.array(["horizontal", "vertical"])
    pictures = np.rint(255 * ink).astype(np.uint8)
    return Source("bars", pictures, classes[np.arange(samples) % 2], "bar", "classification")
