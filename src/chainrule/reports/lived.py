"""The section on the life of one weight: from its draw through every update to the end."""

from __future__ import annotations

from chainrule.influence import Life, life
from chainrule.influence.life_picture import draw
from chainrule.reports.learning import telling_weights
from chainrule.reports.section import Section, facts
from chainrule.reports.subject import Subject

MOST_STEPS, MOST_COST = 20_000, 5e11
"""The most steps that are replayed for it, and about the most multiply-adds that they take: of
larger trainings `chainrule life` tells the life of any weight.
"""
STRONGEST = 10
"""How many samples JSON lists."""


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
    parts = {"moved by": found.moved, **{f"by {name}": value for name, value in found.parts.items()}}
    end = f"{found.end:.6g}, after {len(found.updates):,} steps"
    html = facts({"drawn": found.draw.words, "end": end, **{k: f"{v:+.6g}" for k, v in parts.items()}})
    return f'<div class="sheet">{html}<div class="picture">{draw(found)}</div></div>'
