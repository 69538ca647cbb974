"""The loss surface from above: a small picture of the loss, contour lines, and the path."""

from __future__ import annotations

import base64
import io

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.axes import loss_scale, mark_text
from chainrule.explain.html import Html
from chainrule.explain.surface import Surface
from chainrule.reports.charts import BOTTOM, RIGHT, TOP, Plot, drawn, linear

LEVELS = 12
SHOWN = 6
"""The colours that the legend explains."""
FINE = 160
"""Pixels per side of the picture."""
SHADES = np.array(
    [[0, 32, 76], [0, 66, 114], [78, 91, 108], [124, 123, 120], [168, 157, 117], [215, 194, 97], [255, 234, 70]],
    dtype=float,
)
"""Cividis, from low to high loss: safe for colour blindness (Nuñez et al., 2018)."""


def surface_chart(surface: Surface) -> Html:
    """The surface and the path on it; a legend says which loss has which colour."""
    scale = loss_scale(surface.loss)
    heights = scale.place(surface.loss)
    low, high = float(heights.min()), float(heights.max())
    plot = Plot(linear(surface.across, surface.names[0], 0.0), linear(surface.along, surface.names[1], 0.0), height=420)
    left, top, right, bottom = plot.left, TOP, plot.width - RIGHT, plot.height - BOTTOM
    parts = [
        f'<image x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{bottom - top}" preserveAspectRatio="none"'
        f' href="{_picture(_finer(heights), low, high)}"/>'
    ]
    for level in np.linspace(low, high, LEVELS + 2)[1:-1]:
        parts.append(_contour(plot, surface, heights, float(level)))
    x, y = plot.place(*surface.path.T)
    route = "".join(f"{'L' if k else 'M'}{a:.1f} {b:.1f}" for k, (a, b) in enumerate(zip(x, y, strict=True)))
    parts.append(f'<path d="{route}" class="path-edge"/><path d="{route}" class="path"/>')
    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    parts.append(f'<path d="{dots}" class="path-dots"/>')
    for name, at in (("start", 0), ("end", -1)):
        anchor = "end" if x[at] > right - 60 else "start"
        shift = -9 if anchor == "end" else 9
        shape = (
            f'<circle cx="{x[at]:.1f}" cy="{y[at]:.1f}" r="5.5" class="path-end"/>' if at == 0
            else f'<rect x="{x[at] - 5:.1f}" y="{y[at] - 5:.1f}" width="10" height="10" class="path-end"/>'
        )  # fmt: skip
        words = (
            f'<text x="{x[at] + shift:.1f}" y="{y[at] - 8:.1f}" text-anchor="{anchor}" class="path-name">{name}</text>'
        )
        parts.append(shape + words)
    title = "The loss over a plane of weights, seen from above, with the path of gradient descent"
    return Html(drawn(title, plot, parts) + _legend(scale.is_logarithmic, low, high))


def _legend(is_logarithmic: bool, low: float, high: float) -> str:
    """The colours of some losses, evenly spaced on the scale from the lowest to the highest."""
    shares = np.linspace(0, 1, SHOWN).tolist()
    places = [low + share * (high - low) for share in shares]
    losses = [10**place for place in places] if is_logarithmic else places
    colours = [",".join(map(str, _shade(share))) for share in shares]
    cells = "".join(
        f'<span><i style="background:rgb({colour})"></i> {mark_text(float(f"{loss:.3g}"))}</span>'
        for colour, loss in zip(colours, losses, strict=True)
    )
    return f'<p class="legend">loss: {cells}</p>'


def _shade(share: float) -> list[int]:
    at = np.clip(share, 0, 1) * (len(SHADES) - 1)
    return [round(float(np.interp(at, np.arange(len(SHADES)), column))) for column in SHADES.T]


def _finer(heights: Array) -> Array:
    """The surface at the picture's pixels, by linear interpolation, from the top down."""
    rows, columns = heights.shape
    wide = np.array([np.interp(np.linspace(0, columns - 1, FINE), np.arange(columns), row) for row in heights])
    tall = np.array([np.interp(np.linspace(0, rows - 1, FINE), np.arange(rows), column) for column in wide.T]).T
    return tall[::-1]


def _picture(heights: Array, low: float, high: float) -> str:
    """A data: URL of the picture."""
    from PIL import Image

    at = np.clip((heights - low) / ((high - low) or 1.0), 0, 1) * (len(SHADES) - 1)
    pixels = np.stack([np.interp(at, np.arange(len(SHADES)), column) for column in SHADES.T], axis=-1)
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _contour(plot: Plot, surface: Surface, heights: Array, level: float) -> str:
    """The line of one level, by marching squares (Lorensen and Cline, 1987, in two dimensions):
    within each cell of the grid, a segment between the points where its edges cross the level.
    """
    segments = []
    for row in range(len(surface.along) - 1):
        for column in range(len(surface.across) - 1):
            corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            crossed = []
            for (r, c), (s, d) in zip(corners, corners[1:] + corners[:1], strict=True):
                one, other = heights[r, c] - level, heights[s, d] - level
                if (one < 0) != (other < 0):
                    share = one / (one - other)
                    crossed.append((
                        surface.across[c] + share * (surface.across[d] - surface.across[c]),
                        surface.along[r] + share * (surface.along[s] - surface.along[r]),
                    ))  # fmt: skip
            segments += [crossed[k : k + 2] for k in range(0, len(crossed) - 1, 2)]
    if not segments:
        return ""
    x, y = plot.place(*np.array(segments).reshape(-1, 2).T)
    line = "".join(f"M{x[k]:.1f} {y[k]:.1f}L{x[k + 1]:.1f} {y[k + 1]:.1f}" for k in range(0, len(x), 2))
    return f'<path d="{line}" class="contour"/>'
