"""Explanations to draw: of a weight of any network, on random samples; and what a browser measures of
drawings.
"""

import numpy as np

from chainrule.explain import explain
from chainrule.network import Network


def of(text, weight="dense_1.W[0, 0]", width=3, loss="mse", optimizer="adam"):
    """The first step of a network with `width` inputs on four random samples."""
    random, network = np.random.default_rng(0), Network(text, width, dtype="float64")
    x, outputs = random.normal(size=(4, width)), network.output_shape
    y = random.normal(size=(4, *outputs)) if loss == "mse" else random.integers(0, outputs[0], 4)
    return explain(network, network.draw(), x, y, loss, optimizer, weight)


MEASURED = """
() => [...document.querySelectorAll("svg.chainrule")].map(svg => {
  const box = element => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const texts = element => [...element.querySelectorAll("text")].map(t => ({ words: t.textContent, box: box(t) }));
  const groups = name => [...svg.querySelectorAll(`g.${name}`)].map(g => ({
    symbol: g.dataset.symbol, box: box(g), outline: box(g.querySelector("rect") ?? g), texts: texts(g),
  }));
  return {
    box: box(svg), texts: texts(svg), cards: groups("card"), labels: groups("label"), numbers: groups("number"),
    factors: groups("factor"),
  };
})
"""
"""The boxes of the texts and parts of every picture."""


def inside(inner, outer, slack=0.5):
    return (
        inner[0] >= outer[0] - slack
        and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack
        and inner[3] <= outer[3] + slack
    )


def overlap(a, b, slack=1.5):
    """Whether two boxes share more than a hairline; a line of text has some space above it."""
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack
