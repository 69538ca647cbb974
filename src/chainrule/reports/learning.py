"""The sections on how it learned: the loss surface with the path, three weights explained."""

from __future__ import annotations

import math

import numpy as np

from chainrule.explain import Explanation, explain, gradient_line, update_line
from chainrule.explain.charts import surface_words
from chainrule.explain.html import formula
from chainrule.explain.scheme import draw
from chainrule.explain.surface import Surface, surface_of
from chainrule.reports.contours import surface_chart
from chainrule.reports.section import Section, facts, paragraph, text
from chainrule.reports.subject import Subject

GRID, COARSE = 25, 9
"""Grid points per side of the loss surface; of a large network's."""
AFFORDED, MOST_SAMPLES, FEWEST = 2e10, 300, 16
"""About how many multiply-adds the surface may take, and the most and the fewest samples that it is
measured on.
"""
MOST_WEIGHTS = 2_000_000
"""Of larger networks a step in float64 takes too long to be explained here."""
DRAWN = 1140
"""The width of the schemes: that of the page, so that they fit on a sheet of paper as well."""


def surface(subject: Subject) -> Section | None:
    """The loss over the plane that fits the path best, from above."""
    if subject.data is None or not subject.run.manifest["steps"]:
        return None
    steps, points = subject.path
    plan = subject.trained.plan
    subject.tell("computing the loss surface")
    cost = sum(node.layer.cost(node.built) for node in plan.network.nodes) or 1
    grid = GRID if MOST_SAMPLES * cost * GRID**2 <= AFFORDED else COARSE
    fewest = max(4, math.ceil(FEWEST / math.prod(subject.data.target.positions)))
    if fewest * cost * grid**2 > 4 * AFFORDED:
        return None
    samples = subject.data.training.thinned(int(np.clip(AFFORDED / (cost * grid**2), fewest, MOST_SAMPLES)))
    found: Surface = surface_of(plan, samples, steps, points, grid=grid)
    measured = f"Measured at {grid} x {grid} points, on {len(samples.x):,} samples of the training set."
    html = surface_chart(found) + paragraph(f"{surface_words(found)} {measured}")
    about = (
        "All weights of the network together are a point in a space of as many dimensions; this is a plane through it,"
        " coloured by the loss. Gradient descent starts at the circle and goes downhill to the square."
    )
    data = {
        "variance": found.variance, "samples": len(samples.x), "steps": found.steps.tolist(),
        "path": found.path.tolist(), "path_loss": found.path_loss.tolist(), "across": found.across.tolist(),
        "along": found.along.tolist(), "loss": found.loss.tolist(),
    }  # fmt: skip
    return Section("surface", "The way downhill", about, html, data)


def telling_weights(subject: Subject) -> list[str]:
    """The weight that moved most from its start to its end in the first, the middle and the last
    layer with weights; fewer if there are fewer layers.
    """
    layout = subject.trained.plan.network.parameters
    entries = [entry for entry in layout.entries if entry.own_name == "W"] or list(layout.entries)
    chosen = sorted({0, len(entries) // 2, len(entries) - 1})
    _, points = subject.path
    moved = np.abs(points[-1] - points[0])
    return [
        layout.name_of(entry.start + int(moved[entry.start : entry.start + entry.size].argmax()))
        for entry in (entries[k] for k in chosen)
    ]


def weights(subject: Subject) -> Section | None:
    """One step of three weights: the chain rule behind the gradient, and the update."""
    run, plan = subject.run, subject.trained.plan
    count = run.manifest["steps"]
    if subject.data is None or not count or plan.network.parameters.size > MOST_WEIGHTS:
        return None
    step = next((k for k in reversed(run.checkpoints) if 0 < k < count // 2), min(count - 1, count // 4))
    html, content = "", []
    for name in telling_weights(subject):
        subject.tell(f"explaining {name}")
        e = explain(run, name, step, data=subject.data)
        html += _explained(e)
        content.append({"weight": name, "step": step, "explanation": e.as_json(5)})
    about = (
        "Backpropagation computes how the loss depends on each weight, by the chain rule; gradient descent then takes a"
        f" step against that. Here are the weights that moved most in the first, the middle and the last layer, in step"
        f" {step:,} of {count:,}: the network with the values of one sample, and below it the arithmetic of the step."
    )
    return Section("weights", "Three weights, explained", about, html, {"weights": content})


def _explained(e: Explanation) -> str:
    where = paragraph(f"It is {e.about}.") if e.about else ""
    lines = {"backpropagation": gradient_line(e), "gradient descent": update_line(e)}
    rules = "".join(f"<p><code>{text(owner)}</code>{formula(rule)}</p>" for owner, rule in e.rules[:1])
    picture = f'<div class="picture">{draw(e, DRAWN)}</div>'
    return f'<div class="sheet"><h3>{text(e.weight)}</h3>{where}{facts(lines)}{rules}{picture}</div>'
