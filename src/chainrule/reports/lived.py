"""The section on the life of one weight: from its draw through every update to the end."""

from __future__ import annotations

import numpy as np

from chainrule.influence import Life, life
from chainrule.reports.charts import Plot, bars, drawn, linear, lines
from chainrule.reports.learning import telling_weights
from chainrule.reports.section import Section, facts, paragraph, side_by_side, table
from chainrule.reports.subject import Subject

MOST_STEPS, MOST_COST = 20_000, 5e11
"""The most steps that are replayed for it, and about the most multiply-adds that they take: of
larger trainings `chainrule life` tells the life of any weight.
"""
STRONGEST = 10
"""How many samples are listed."""


def lived(subject: Subject) -> Section | None:
    """The life of the weight that moved most in the last layer."""
    run, data, plan = subject.run, subject.data, subject.trained.plan
    count = run.manifest["steps"]
    cost = sum(node.layer.cost(node.built) for node in plan.network.nodes) * plan.batch_size * count
    if data is None or not count:
        return None
    if count > MOST_STEPS or cost > MOST_COST:
        name = telling_weights(subject)[-1]
        why = f"all {count:,} steps would be replayed, which takes long; see it with: chainrule life RUN '{name}'"
        return Section("life", "The life of a weight", "", "", missing=why)
    name = telling_weights(subject)[-1]

    def tell(done: int, of: int) -> None:
        subject.tell(f"following {name} through step {done:,} of {of:,}")

    found = life(run, name, data, progress=tell)
    about = (
        f"{name} from its random draw to the end. Each step moved it a little, and each sample of the step's mini-batch"
        " has a share in that; the shares of all samples, and what belongs to none, add up to how far it moved."
    )
    return Section("life", "The life of a weight", about, _drawn(found), found.as_json(STRONGEST))


def _drawn(found: Life) -> str:
    steps = np.arange(len(found.updates) + 1)
    values = np.append(found.values, found.end)
    across = linear(steps, "step", 0.02)
    size = np.abs(found.gradients)
    html = facts({
        "drawn": found.draw.words, "end": f"{found.end:.6g}, after {len(found.updates):,} steps",
        "moved by": f"{found.moved:+.6g}", **{f"by {name}": f"{value:+.6g}" for name, value in found.parts.items()},
    })  # fmt: skip
    charts = [lines("Its value", across, linear(values, found.weight), {"value": (steps, values)})]
    if len(found.draw.at) > 2:
        plot = Plot(linear(found.draw.at, "value"), linear([0, *found.draw.heights], "density"))
        top = np.array([0, plot.y.high])
        parts = [plot.line(found.draw.at, found.draw.heights), plot.line(np.full(2, found.draw.value), top, 1)]
        charts.append(drawn("Where it was drawn", plot, parts, {"the density it was drawn from": 0, "its draw": 1}))
    charts.append(
        lines("Its gradient in each step", across, linear(size, "|gradient|"), {"|gradient|": (steps[:-1], size)})
    )
    html += side_by_side(*charts)
    if found.by_class:
        shares = {str(one.name): one.share for one in found.by_class}
        html += paragraph("How far the samples of each class moved it:") + bars("Shares of the classes", shares)
    shown, rest = found.strongest(STRONGEST)
    rows = [[one.row + 1, "" if one.name is None else one.name, one.steps, f"{one.share:+.4g}"] for one in shown]
    rows.append([f"{len(found.samples) - len(shown):,} others", "", "", f"{rest:+.4g}"])
    head = ["sample of the training set", "class", "in steps", "moved it by"]
    return html + table(head, rows, "rlrr", "The samples that moved it most")
