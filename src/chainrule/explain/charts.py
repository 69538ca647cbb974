"""Charts with Plotly, as HTML that works offline and as PNG: the loss surface with the path, and sizes over a run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import SettingError, require_package
from chainrule.explain.html import document, paragraph
from chainrule.explain.sizes import Sizes
from chainrule.explain.surface import Surface

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours that colour-blind people can tell apart (Okabe and Ito, 2008)."""
_DASHES = ("solid", "dash", "dot", "dashdot")
_SCALE = "Cividis"
_BAR = {
    "title": {"text": "loss", "side": "top"},
    "orientation": "h",
    "y": -0.04,
    "yanchor": "top",
    "thickness": 14,
    "nticks": 6,
}
SURFACE_TITLE = "The loss surface, and the path that gradient descent took"
SIZES_TITLE = "Each layer's gradients and updates over the run (root mean squares)"
_FONT = {"family": "system-ui, Helvetica, Arial, sans-serif", "size": 14}


def surface_chart(found: Surface) -> Figure:
    """The surface from above and in three dimensions, each with the path."""
    require_package("plotly", "charts", "a chart")
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, row_heights=[0.5, 0.5], specs=[[{"type": "xy"}], [{"type": "scene"}]],
        subplot_titles=("from above", "in three dimensions"), vertical_spacing=0.12,
    )  # fmt: skip
    height, ticks = _height(found)
    figure.add_trace(
        go.Contour(
            x=found.across, y=found.along, z=height(found.loss), ncontours=24, line_width=0.4, name="surface",
            customdata=found.loss, colorbar={**_BAR, **ticks}, colorscale=_SCALE,
            hovertemplate="(%{x:.4g}, %{y:.4g})<br>loss %{customdata:.5g}<extra></extra>",
        ), 1, 1,
    )  # fmt: skip
    told = [f"step {step}<br>loss {loss:.5g}" for step, loss in zip(found.steps, found.path_loss, strict=True)]
    path = {"line": {"color": "white", "width": 2}, "marker": {"size": 5, "color": "white"}}
    x, y = found.path.T
    figure.add_trace(
        go.Scatter(
            x=x, y=y, mode="lines+markers", text=told, hovertemplate="%{text}<extra></extra>", name="path", **path
        ), 1, 1,
    )  # fmt: skip
    ends = (("start", 0, "circle", "bottom center"), ("end", -1, "star", "top center"))
    for name, k, symbol, place in ends:
        figure.add_trace(
            go.Scatter(
                x=[x[k]], y=[y[k]], mode="markers+text", text=[name], textposition=place, hoverinfo="skip",
                textfont={"color": "white", "size": 16, "shadow": "0 0 3px black, 0 0 3px black"},
                marker={"symbol": symbol, "size": 14, "color": "white", "line": {"width": 2, "color": "black"}},
            ), 1, 1,
        )  # fmt: skip
    figure.add_trace(
        go.Surface(
            x=found.across, y=found.along, z=height(found.loss), showscale=False, opacity=0.92, hoverinfo="skip",
            colorscale=_SCALE,
        ), 2, 1,
    )  # fmt: skip
    on_plane = _on_surface(found)
    figure.add_trace(
        go.Scatter3d(
            x=x, y=y, z=height(on_plane), mode="lines+markers", text=told, hovertemplate="%{text}<extra></extra>",
            line={"color": _COLOURS[1], "width": 6}, marker={"size": 3, "color": _COLOURS[1]},
        ), 2, 1,
    )  # fmt: skip
    figure.update_xaxes(title=found.names[0], row=1, col=1)
    figure.update_yaxes(title=found.names[1], row=1, col=1)
    first, second = ("first", "second") if found.variance is not None else found.names
    figure.update_scenes(
        xaxis_title=first, yaxis_title=second, zaxis={"title": "loss", **ticks},
        camera={"eye": {"x": 1.6, "y": -1.7, "z": 1.0}, "center": {"x": 0, "y": 0, "z": -0.15}},
    )  # fmt: skip
    figure.update_layout(showlegend=False)
    return _finished(figure, SURFACE_TITLE, 1150).update_layout(margin_b=100)


def _height(found: Surface) -> tuple[Any, dict[str, Any]]:
    """How high a loss is drawn, and which heights are marked: its logarithm where it spans more than a factor of 20."""
    low, high = float(found.loss.min()), float(found.loss.max())
    if not (low > 0 and high > 20 * low):
        return np.asarray, {}
    marks = [
        step * 10.0**power
        for power in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        for step in ((1, 3) if high < 1e4 * low else (1,))
        if low <= step * 10.0**power <= high
    ]
    return np.log10, {"tickvals": np.log10(marks), "ticktext": [f"{mark:g}" for mark in marks]}


def _on_surface(found: Surface) -> Any:
    """The surface's own height under each point of the path, between the grid's points by linear interpolation."""
    from scipy.interpolate import RegularGridInterpolator

    return RegularGridInterpolator((found.along, found.across), found.loss)(found.path[:, ::-1])


def surface_words(found: Surface) -> str:
    """What the chart shows, and what it doesn't."""
    first, last = found.path_loss[0], found.path_loss[-1]
    said = f"The loss of the training samples went from {first:.4g} to {last:.4g} in {found.steps[-1]:,} steps. "
    if found.variance is None:
        return said + (
            "The surface lies along two chosen weights; all others are held at what they were in the end, though in"
            " training they moved as well: so the path need not go downhill on this surface."
        )
    return said + (
        f"Of all directions these two fit the path best: they hold {found.variance:.1%} of its variance. The path is"
        " drawn as its shadow on their plane; what lies off the plane is not seen."
    )


def sizes_chart(found: Sizes) -> Figure:
    """Gradients, updates, and updates relative to the weights, each layer's in a line of its own."""
    require_package("plotly", "charts", "a chart")
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("size of the gradient", "size of the update", "update relative to the weights")
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=titles)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(found.weight > 0, found.update / found.weight, np.nan)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in found.names))
    for row, lines in enumerate((found.gradient, found.update, relative), start=1):
        for name, line in zip(found.names, lines, strict=True):
            # A colour for each layer, a dash for each array in it.
            layer, _, _ = name.rpartition(".")
            beside = [other for other in found.names if other.rpartition(".")[0] == layer].index(name)
            style = {"color": _COLOURS[layers.index(layer) % len(_COLOURS)], "dash": _DASHES[beside % len(_DASHES)]}
            figure.add_trace(
                go.Scatter(
                    x=found.steps, y=np.where(line > 0, line, np.nan), name=name, legendgroup=name, line=style,
                    showlegend=row == 1, hovertemplate=f"{name}<br>step %{{x}}: %{{y:.3g}}<extra></extra>",
                ), row, 1,
            )  # fmt: skip
    figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    figure.update_xaxes(title="step", row=3, col=1)
    return _finished(figure, SIZES_TITLE, 900)


def sizes_words(found: Sizes) -> str:
    """What the chart shows, with the layers that get most and least."""
    typical = np.median(found.gradient, axis=1)
    most, least = found.names[int(typical.argmax())], found.names[int(typical.argmin())]
    return (
        f"The largest gradients are those of {most} (typically {typical.max():.3g}), the smallest those of {least}"
        f" ({typical.min():.3g}). Where they shrink from layer to layer towards the input, gradients vanish; where they"
        " grow, they explode. A line that ends, or is not there, is 0."
    )


def _finished(figure: Figure, title: str, height: int) -> Figure:
    figure.update_layout(
        title={"text": title, "x": 0.02}, height=height, font=_FONT, template="plotly_white",
        margin={"l": 60, "r": 20, "t": 80, "b": 60}, legend={"orientation": "h", "y": -0.08},
    )  # fmt: skip
    return figure


def chart_page(figure: Figure, words: str) -> str:
    """A chart as one HTML file, with the script that draws it."""
    from plotly.graph_objects import Figure

    title = figure.layout.title.text
    bare = Figure(figure).update_layout(title=None, margin_t=40)
    made = bare.to_html(
        full_html=False, include_plotlyjs=True, div_id="chart", config={"responsive": True, "displaylogo": False}
    )
    return document(title, f"<h1>{escape(title)}</h1>{paragraph(words)}{made}", _STYLE)


_STYLE = "#chart { background: #fff; border-radius: .5rem; overflow: hidden; }"


def chart_png(figure: Figure, width: int = 1000) -> bytes:
    """A chart as a PNG, which takes a Chrome or Chromium on this machine; raises SettingError without."""
    require_package("kaleido", "png", "a chart as PNG")
    try:
        return bytes(figure.to_image(format="png", width=width, height=figure.layout.height, scale=2))
    except Exception as error:  # whatever the browser, or its absence, makes of it
        raise SettingError(
            f"the PNG can't be drawn ({' '.join(str(error).split())[:120]}); it takes Chrome or Chromium on this"
            " machine: install it, or write a file that ends in .html"
        ) from None


def chart_file(kind: str, figure: Figure, words: str) -> bytes:
    """A chart as the content of a file with this ending, .html or .png."""
    return chart_png(figure) if kind == ".png" else chart_page(figure, words).encode()
