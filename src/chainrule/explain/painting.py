"""A kernel's weight, painted: where in the sample it was pushed up, and where down.

A sample's part of the gradient is a sum of products, delta times input, over the positions at which
the weight is used. Gradient descent moves the weight against it, so each product pushes the weight
the other way. The painting shows the pushes over the inputs that the weight multiplied.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from chainrule.arrays import Array

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation, SampleTerm

UP, DOWN = (0, 114, 178), (224, 108, 20)
"""The colours of a push up and of a push down."""
_GREYEST = 0.66
"""The grey of the darkest input below the colours."""


@dataclass(frozen=True)
class Painting:
    """The pushes on a weight by one sample.

    Attributes:
        row: the sample's row in the training set
        number, channel: the number of the value, and its channel, that the weight multiplies
        pushes: (height, width) minus the products of the weight at each input, added up
        inputs: (height, width) or (height, width, 3) what the weight was multiplied by
        over: what that is, in words
    """

    row: int
    number: int
    channel: int
    pushes: Array
    inputs: Array
    over: str


def painting(e: Explanation, term: SampleTerm) -> Painting | None:
    """The pushes on a weight by a sample; None unless it is a weight of a kernel over pictures."""
    trace, (*place, _) = e.trace, e.weight_index
    node = trace.network.graph.node(term.terms[0].node) if term.terms else None
    if node is None or len(place) != 3 or len(term.terms) > 1:
        return None  # a bias reads no input; a shared kernel reads several
    x, sample = trace.tape.values[node.inputs[0]], term.unit.sample
    *kernel, channel = place
    meeting = node.layer.meeting(x.shape[1:-1], tuple(kernel))
    if meeting is None:
        return None
    pushes = np.zeros(x.shape[1:-1])
    there = pushes[tuple(inputs for _, inputs in meeting)]
    there -= term.terms[0].products.reshape(there.shape)
    value, channel = node.inputs[0], int(node.layer.channels_read(term.unit.index[-1], x.shape[-1])[channel])
    origin, _ = trace.network.graph.source(value, (0, 0, channel))
    read = e.read(term.row) if origin == 0 else None
    if read is not None and read.picture is not None and read.picture.shape[:2] == pushes.shape:
        inputs = read.picture
        inputs = inputs[..., 0] if inputs.shape[2:] == (1,) else inputs
        return Painting(term.row, value, channel, pushes, inputs, "the picture")
    over = "the picture" if origin == 0 else f"channel {channel} of {trace.network.graph.nodes[value - 1].name}"
    return Painting(term.row, value, channel, pushes, x[sample, ..., channel], over)


def of_chain(e: Explanation) -> Painting | None:
    """The pushes by the sample that the explanation opens."""
    terms = [term for term in e.samples if e.chain is not None and term.row == e.chain.row]
    return painting(e, terms[0]) if terms else None


def painted(pictures: Sequence[Painting], size: int) -> list[str]:
    """Paintings as inline images, on one scale for all: the stronger a colour, the larger the push.

    Args:
        pictures: the paintings
        size: the larger of height and width on the page, in CSS pixels
    """
    from PIL import Image

    most = max((float(np.abs(one.pushes).max()) for one in pictures), default=0.0) or 1.0
    images = []
    for one in pictures:
        content = io.BytesIO()
        Image.fromarray(_pixels(one, most)).save(content, "PNG")
        high, wide = one.pushes.shape
        across, down = round(size * wide / max(high, wide)), round(size * high / max(high, wide))
        words = f"where sample {one.row} pushed the weight, over {one.over}"
        encoded = base64.b64encode(content.getvalue()).decode()
        images.append(
            f'<img alt="{escape(words)}" width="{across}" height="{down}" src="data:image/png;base64,{encoded}">'
        )
    return images


def _pixels(one: Painting, most: float) -> Array:
    """(height, width, 3) the inputs in light greys, with the pushes over them. Numbers are like
    ink, the largest darkest; pictures in colour have their own brightness.
    """
    inputs = np.asarray(one.inputs, dtype=float)
    grey = -inputs if inputs.ndim == 2 else inputs.mean(axis=2)
    spread = float(np.ptp(grey)) or 1.0
    ground = 255 * (_GREYEST + (1 - _GREYEST) * (grey - grey.min()) / spread)[..., None]
    share = np.clip(np.abs(one.pushes) / most, 0, 1)[..., None]
    colour = np.where((one.pushes > 0)[..., None], np.array(UP), np.array(DOWN))
    return np.rint(ground + (colour - ground) * share).astype(np.uint8)
