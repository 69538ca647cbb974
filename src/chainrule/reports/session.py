"""The section with the live page: of a small network, a recording of some steps, in a frame."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

from chainrule.play.saving import saved_page
from chainrule.play.settings import DataSettings, Settings
from chainrule.reports.section import Section, paragraph
from chainrule.reports.subject import Subject

MOST_ASKED = 240
"""About how many weights and units are opened for the recording, over all of its steps."""
FEWEST_STEPS, MOST_STEPS = 2, 6
MOST_BYTES = 2_600_000
"""The most bytes of the recording, so that the report is smaller than 3 MB."""
SAMPLES = 1
"""How many samples of each mini-batch are recorded."""


def session(subject: Subject) -> Section | None:
    """The page with some steps of the run, of a network that is small enough to show all of it."""
    run, data, plan = subject.run, subject.data, subject.trained.plan
    opened = plan.network.parameters.size + sum(node.built.output_shape[-1] for node in plan.network.nodes)
    count = run.manifest["steps"]
    fitting = min(MOST_ASKED // (2 * SAMPLES * opened), MOST_STEPS, count)
    if data is None or fitting < FEWEST_STEPS:
        return None
    subject.tell("recording some steps on the live page")
    # The first ones in a row, and the last.
    steps = sorted({*range(fitting - 1), count - 1})
    settings = Settings(data=DataSettings(kind="given"), epochs=plan.epochs)
    html = saved_page(settings, steps, data, run, SAMPLES)
    frame = f'<iframe title="The live page" sandbox="allow-scripts" srcdoc="{escape(html)}"></iframe>'
    if (size := len(frame.encode())) > MOST_BYTES:
        why = f"the recording takes {size / 1e6:.1f} MB; see it with: chainrule play RUN"
        return Section("session", "Step by step", "", "", missing=why)
    listed = ", ".join(f"{step:,}" for step in steps)
    paper = paragraph(
        "On a screen, this section is a page in which every number of these steps can be opened.", "on-paper"
    )
    about = (
        f"Every number of some steps ({listed}), to click through: press Step, or a phase; click a weight or a unit to"
        " see where its number comes from. It is a recording, so nothing is computed, and nothing is sent anywhere."
    )
    without = f"<noscript>{paragraph('It needs JavaScript, which is switched off in this browser.')}</noscript>"
    return Section("session", "Step by step", about, without + frame + paper, {"steps": steps}, scripts=sources(html))


def sources(html: str) -> tuple[str, ...]:
    """What a policy must allow so that the scripts of this page run, and no others: the hashes of
    those within it, and data:, from which it loads its modules.
    """
    found = re.findall(r"<script(?P<kind>[^>]*)>(.*?)</script>", html, re.DOTALL)
    digests = (
        base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        for kind, content in found if "text/plain" not in kind
    )  # fmt: skip
    return (*(f"'sha256-{digest}'" for digest in digests), "data:")
