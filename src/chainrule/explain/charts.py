"""Plotly charts as offline HTML or PNG: the loss surface with the path, and sizes over a run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import SettingError, require_package
from chainrule.explain.axes import D3_FORMAT, loss_scale, mark_text
from chainrule.explain.html import document, paragraph
from chainrule.explain.sizes import Sizes
from chainrule.explain.surface import Surface

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""A palette that is safe for colour blindness (Okabe and Ito, 2008)."""
_DASHES = ("solid", "dash", "dot", "dashdot")
_SCALE = "Cividis"
_BAR = {"title": {"text": "loss", "side": "top"}, "orientation": "h", "y": -0.04, "yanchor": "top"}
_BAR |= {"thickness": 14, "nticks": 6}
SURFACE_TITLE = "The loss surface, and the path that gradient descent took"
SIZES_TITLE = "Each layer's gradients and updates over the run (root mean squares)"
_FONT = {"family": "system-ui, Helvetica, Arial, sans-serif", "size": 14}


def surface_chart(surface: Surface) -> Figure:
    """The surface as contours and in three dimensions, each with the path."""
    figure = _subplots(
        rows=2, cols=1, row_heights=[0.5, 0.5], specs=[[{"type": "xy"}], [{"type": "scene"}]],
        subplot_titles=("from above", "in three dimensions"), vertical_spacing=0.12,
    )  # fmt: skip
    scale = loss_scale(surface.loss)
    height = scale.place
    ticks = {"tickvals": height(scale.marks), "ticktext": [mark_text(mark) for mark in scale.marks]}
    figure.add_contour(
        x=surface.across, y=surface.along, z=height(surface.loss), ncontours=24, line_width=0.4, name="surface",
        customdata=surface.loss, colorbar={**_BAR, **ticks}, colorscale=_SCALE, row=1, col=1,
        hovertemplate="(%{x:.4g}, %{y:.4g})<br>loss %{customdata:.5g}<extra></extra>",
    )  # fmt: skip
    labels = [f"step {step}<br>loss {loss:.5g}" for step, loss in zip(surface.steps, surface.path_loss, strict=True)]
    points = {"mode": "lines+markers", "text": labels, "hovertemplate": "%{text}<extra></extra>"}
    x, y = surface.path.T
    figure.add_scatter(
        x=x, y=y, name="path", line={"color": "white", "width": 2}, marker={"size": 5, "color": "white"},
        row=1, col=1, **points,
    )  # fmt: skip
    for name, k, symbol, place in (("start", 0, "circle", "bottom center"), ("end", -1, "star", "top center")):
        figure.add_scatter(
            x=[x[k]], y=[y[k]], mode="markers+text", text=[name], textposition=place, hoverinfo="skip",
            textfont={"color": "white", "size": 16, "shadow": "0 0 3px black, 0 0 3px black"},
            marker={"symbol": symbol, "size": 14, "color": "white", "line": {"width": 2, "color": "black"}},
            row=1, col=1,
        )  # fmt: skip
    figure.add_surface(
        x=surface.across, y=surface.along, z=height(surface.loss), showscale=False, opacity=0.92, hoverinfo="skip",
        colorscale=_SCALE, row=2, col=1,
    )  # fmt: skip
    figure.add_scatter3d(
        x=x, y=y, z=height(surface.below(surface.path)), line={"color": _COLOURS[1], "width": 6},
        marker={"size": 3, "color": _COLOURS[1]}, row=2, col=1, **points,
    )  # fmt: skip
    figure.update_xaxes(title=surface.names[0], tickformat=D3_FORMAT, row=1, col=1)
    figure.update_yaxes(title=surface.names[1], tickformat=D3_FORMAT, row=1, col=1)
    axes = [{"title": name, "tickformat": D3_FORMAT, "nticks": 6} for name in surface.names]
    figure.update_scenes(
        xaxis=axes[0], yaxis=axes[1], zaxis={"title": "loss", **ticks},
        camera={"eye": {"x": 1.6, "y": -1.7, "z": 1.0}, "center": {"x": 0, "y": 0, "z": -0.15}},
    )  # fmt: skip
    figure.update_layout(showlegend=False)
    return _finished(figure, SURFACE_TITLE, 1150).update_layout(margin_b=100)


def surface_words(surface: Surface) -> str:
    """A caption: what the chart shows, and what it doesn't."""
    if surface.steps[-1] == surface.steps[0]:
        return "No step was taken yet, so there is no path: the surface spans two weights."
    first, last = surface.path_loss[0], surface.path_loss[-1]
    count = f"{surface.steps[-1]:,} step{'s' if surface.steps[-1] != 1 else ''}"
    losses = f"The loss on the training samples went from {first:.4g} to {last:.4g} in {count}. "
    if surface.variance is None:
        return losses + (
            "The surface spans two chosen weights; all others are held at their final values. In training they"
            " moved as well, so the path need not go downhill on this surface."
        )
    return losses + (
        f"The plane is the one that fits the path best: it captures {surface.variance:.1%} of the path's variance. The"
        " path is projected onto the plane, so movement off the plane is not visible."
    )


def _subplots(**options: Any) -> Figure:
    """A Plotly figure with subplots; raises SettingError if Plotly is not installed."""
    require_package("plotly", "charts", "a chart")
    from plotly.subplots import make_subplots

    return make_subplots(**options)


def sizes_chart(sizes: Sizes) -> Figure:
    """Gradients, updates, and updates relative to the weights: one line per parameter array."""
    titles = ("size of the gradient", "size of the update", "update relative to the weights")
    figure = _subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=titles)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(sizes.weight > 0, sizes.update / sizes.weight, np.nan)
    layers: dict[str, list[str]] = {}
    for name in sizes.names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    for name, *lines in zip(sizes.names, sizes.gradient, sizes.update, relative, strict=True):
        # One colour per layer, one dash per array in it.
        layer = name.rpartition(".")[0]
        colour, dash = list(layers).index(layer), layers[layer].index(name)
        style = {"color": _COLOURS[colour % len(_COLOURS)], "dash": _DASHES[dash % len(_DASHES)]}
        for row, line in enumerate(lines, start=1):
            figure.add_scatter(
                x=sizes.steps, y=np.where(line > 0, line, np.nan), name=name, legendgroup=name, line=style,
                showlegend=row == 1, hovertemplate=f"{name}<br>step %{{x}}: %{{y:.3g}}<extra></extra>", row=row, col=1,
            )  # fmt: skip
    figure.update_yaxes(type="log", tickformat=D3_FORMAT, dtick=1)
    figure.update_xaxes(tickformat=",d")
    figure.update_xaxes(title="step", row=3, col=1)
    return _finished(figure, SIZES_TITLE, 900)


def sizes_words(sizes: Sizes) -> str:
    """A caption: what the chart shows, with the arrays of the largest and smallest gradients."""
    median = np.median(sizes.gradient, axis=1)
    most, least = sizes.names[int(median.argmax())], sizes.names[int(median.argmin())]
    return (
        f"The largest gradients are those of {most} (median {median.max():.3g}), the smallest those of {least}"
        f" ({median.min():.3g}). If they shrink from layer to layer towards the input, gradients vanish; if they grow,"
        " they explode. Where a line is interrupted or missing, its value is 0."
    )


def _finished(figure: Figure, title: str, height: int) -> Figure:
    return figure.update_layout(
        title={"text": title, "x": 0.02}, height=height, font=_FONT, template="plotly_white",
        margin={"l": 60, "r": 20, "t": 80, "b": 60}, legend={"orientation": "h", "y": -0.08},
    )  # fmt: skip


def chart_page(figure: Figure, words: str) -> str:
    """A chart and its caption as one HTML file, with the script that draws it."""
    from plotly.graph_objects import Figure

    title = figure.layout.title.text
    bare = Figure(figure).update_layout(title=None, margin_t=40)
    config = {"responsive": True, "displaylogo": False}
    chart = bare.to_html(full_html=False, include_plotlyjs=True, div_id="chart", config=config)
    return document(title, f"<h1>{escape(title)}</h1>{paragraph(words)}{chart}", _STYLE)


_STYLE = "#chart { background: #fff; border-radius: .5rem; overflow: hidden; }"


def chart_png(figure: Figure, width: int = 1000) -> bytes:
    """A chart as PNG at scale 2; raises SettingError without Chrome or Chromium."""
    require_package("kaleido", "png", "a chart as PNG")
    try:
        return bytes(figure.to_image(format="png", width=width, height=figure.layout.height, scale=2))
    except Exception as error:  # the browser may fail in any way
        raise SettingError(
            f"cannot draw the PNG ({' '.join(str(error).split())[:120]}); this needs Chrome or Chromium: install it,"
            " or write an .html file"
        ) from None


def chart_file(kind: str, figure: Figure, words: str) -> bytes:
    """The content of a chart file of this `kind`, ".html" or ".png"."""
    return chart_png(figure) if kind == ".png" else chart_page(figure, words).encode()
