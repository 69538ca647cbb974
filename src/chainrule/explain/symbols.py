"""The chain rule of one weight in the textbook's notation, for the layers that lie between it and the loss."""

from __future__ import annotations

from chainrule.explain.trace import Trace


def latex(trace: Trace, weight: str) -> str:
    r"""An `aligned` block: the weight's gradient, then each layer's rule on the way to the loss, and the loss's own
    derivative.
    """
    array = weight.partition("[")[0]
    layer, _, name = array.rpartition(".")
    places = list(trace.outputs)
    rows = [(layer, trace.nodes[layer].layer.formulas.parameters[name])]
    rows += [(place, trace.nodes[place].layer.formulas.input) for place in places[places.index(layer) + 1 :]]
    value, slope = trace.work.loss.formula
    rows.append(
        (
            "loss",
            rf"\ell_n = {value}, \quad \frac{{\partial L}}{{\partial y_n}} = \frac{{w_n}}{{N}} \cdot \Big({slope}\Big)",
        )
    )
    lines = [rf"\text{{{_text(place)}:}} \quad & {formula}" for place, formula in rows]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _text(place: str) -> str:
    return place.replace("_", r"\_")
