"""The chain rule of one weight in the textbook's notation, for the layers that lie between it and the loss."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.trace import Trace, Unit


def rules(trace: Trace, weight: str) -> list[tuple[str, str]]:
    """The weight's gradient, then the rule of each layer on the way to the loss, then the loss's own derivative: where
    each belongs, and the rule in LaTeX.
    """
    array, _, index = weight.partition("[")
    place, _, name = array.rpartition(".")
    layer = trace.nodes[place].layer
    here = zip(("i", "j") if "," in index else ("j",), index.rstrip("]").split(","), strict=False)
    numbers = r",\; ".join(f"{letter} = {number.strip()}" for letter, number in here)
    found = [(f"{weight}", rf"{layer.formulas.parameters[name]} \qquad ({numbers})")]
    found += [(after, trace.nodes[after].layer.formulas.input) for after in _on_the_way(trace, place)]
    value, slope = trace.work.loss.formula
    begin = rf"\frac{{\partial L}}{{\partial y_n}} = \frac{{w_n}}{{N}} \cdot \Big({slope}\Big)"
    return [*found, ("loss", rf"L = \frac{{1}}{{N}} \sum_n w_n \ell_n, \quad \ell_n = {value}, \quad {begin}")]


def latex(found: Sequence[tuple[str, str]]) -> str:
    r"""These rules as an `aligned` block."""
    lines = [rf"\text{{{_text(place)}:}} \quad & {formula}" for place, formula in found]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _on_the_way(trace: Trace, place: str) -> list[str]:
    """The layers that what comes out of this one goes through, in their order."""
    shape = trace.outputs[place].shape
    if 0 in shape:
        return []
    found: set[str] = set()
    ahead = [Unit(place, (0,) * len(shape))]
    while ahead:
        for terms in trace.fed_by(ahead.pop()):
            if terms.layer not in found and len(terms.at):
                found.add(terms.layer)
                ahead.append(Unit(terms.layer, tuple(terms.at[0].tolist())))
    return [layer for layer in trace.order if layer in found]


def _text(place: str) -> str:
    return place.replace("_", r"\_")
