"""An explanation as one HTML file that works offline; its levels open and close by click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from chainrule.explain import text
from chainrule.explain.attention import LEVELS, Attention, Group
from chainrule.explain.chain import WIDTH, ChainLink
from chainrule.explain.explanation import Explanation, SampleTerm
from chainrule.explain.html import PRINT_ALL, Html, document, formula, paragraph, picture, table
from chainrule.explain.painting import of_chain, painted, painting
from chainrule.explain.scheme import FITTING_STYLE, fitting
from chainrule.explain.update import words
from chainrule.tape import Unit

_MOST = 12
"""The number of samples that the page lists; the others are added up."""

_PAINTED = 64
"""The size of a painted sample in CSS pixels."""
_PUSHES = "Blue: where {over} pushed the weight up. Orange: where down. The stronger the colour, the harder."
"""What the colours of painted samples mean."""

_STYLE = """
.short { background: var(--soft); border-radius: .5rem; padding: .6rem .9rem; font-variant-numeric: tabular-nums; }
.short b { color: var(--descent); }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
details details { border: 0; padding: .15rem 0 .15rem 1.1rem; }
details details summary, .leaf { font-weight: 400; }
.leaf { padding-left: 1.1rem; }
.note { font-style: italic; }
small { display: block; }
body { max-width: 80rem; }
.picture { border: 1px solid var(--line); border-radius: .5rem; margin: .8rem 0; overflow: hidden; }
@media (max-width: 640px) { body { padding: .5rem; } }
"""


def page(e: Explanation) -> str:
    """The whole file."""
    about = paragraph(f"It is {e.about}.") if e.about else ""
    body = (
        f"<h1>Why {escape(e.weight)} changed in step {e.step}</h1>{about}"
        f'<p class="short">Backpropagation: {escape(text.gradient_line(e))}<br>Gradient descent:'
        f' <b>{escape(text.update_line(e))}</b></p><div class="picture fitting">{fitting(e)}</div>{levels(e)}'
    )
    return document(f"{e.weight}, step {e.step}", body, _STYLE + FITTING_STYLE, PRINT_ALL)


def levels(e: Explanation) -> str:
    """The six levels; the first two start open."""
    contents = (_update(e), _gradient(e), _chain(e), _paths(e), _symbols(e), _proof(e))
    return "".join(
        f'<details id="level-{k}"{" open" if k <= 2 else ""}><summary>{k}. {escape(title)}</summary>{content}</details>'
        for k, (title, content) in enumerate(zip(text.TITLES, contents, strict=True), start=1)
    )


def _update(e: Explanation) -> str:
    rows = [
        [words(s.stage), f"{s.input:.6g}", "-" if s.output is None else f"{s.output:.6g}",
         Html(f"<span>{escape(s.formula)}</span>{formula(s.symbols)}")]
        for s in e.stages
    ]  # fmt: skip
    return table(["stage", "in", "out", "formula"], rows) + paragraph(f"{text.outcome(e)} {text.update_line(e)}")


def _gradient(e: Explanation) -> str:
    weighted = any(term.weight is not None for term in e.samples)
    head = ["", *(["sample's weight"] * weighted), "delta", "times input", "= product", "pull on the weight"]
    blanks = [""] * (len(head) - 3)
    paintings = [painting(e, term) for term in e.samples[:_MOST]]
    images = iter(painted([one for one in paintings if one], _PAINTED))
    pictures = [next(images) if one else "" for one in paintings]
    samples = [_sample_row(e, term, image) for term, image in zip(e.samples, pictures, strict=False)]
    sums = [[name, *blanks, f"{product:.6g}", ""] for name, product in text.remaining_terms(e, _MOST)]
    total = ["dL/dw", *blanks, f"{e.gradient:.6g}", ""]
    notes = ["A sample's weight is a factor of its delta: it multiplies the sample's loss."] * weighted
    notes += filter(None, [text.augmented_line(e)])
    over = next((one.over for one in paintings if one), "")
    notes += [_PUSHES.format(over=over)] if over else []
    where = [line] if (line := text.where_line(e)) else []
    return (
        "".join(map(paragraph, where))
        + table(head, samples + sums, total)
        + "".join(map(paragraph, (*notes, *text.rounding_lines(e))))
        + _time(e)
    )


BAR = "display: inline-block; height: .8em; background: currentColor"
"""How a bar looks, also on a page with a style of its own."""


def _time(e: Explanation) -> str:
    """How many time steps back the gradient comes from, for a weight of a recurrent layer."""
    steps = e.steps_back()
    if len(steps) < 2:
        return ""
    rows = [
        [back, f"{step.product:.6g}", f"{step.share:.1%}", f"{step.delta:.3g}",
         Html(f'<span style="{BAR}; width: {15 * step.share:.2f}rem"></span>')]
        for back, step in text.time_rows(steps)
    ]  # fmt: skip
    listed = table(["steps back", "product", "share", "|delta|", ""], rows)
    return paragraph(text.time_title(e)) + listed + "".join(map(paragraph, filter(None, [text.factor_line(steps)])))


def pushes(e: Explanation) -> str:
    """For a weight of a kernel over pictures: where the sample of the chain pushed it up, and where
    down; empty for other weights.
    """
    one = of_chain(e)
    if one is None:
        return ""
    sums = f" Together they push by {one.pushes.sum():+.4g}.".replace("-", "\u2212")
    words = f"Sample {one.row} and its pushes on this weight. {_PUSHES.format(over=one.over)}{sums}"
    return f'<div class="pushes">{painted([one], 2 * _PAINTED)[0]}{paragraph(words)}</div>'


def _sample_row(e: Explanation, term: SampleTerm, painted_over: str = "") -> list[str]:
    """A sample's product, and the sample as it was read: its row of the table, or its picture."""
    sample = e.read(term.row)
    weight = [] if term.weight is None else [f"{term.weight:.6g}"]
    pull, line, shown = term.pull, "", painted_over
    if sample is not None:
        line = text.sample_line(sample)
        shown = painted_over or ("" if sample.picture is None else picture(sample.picture, line))
    if line or shown:
        pull = Html(f"<span>{escape(pull)}<small>{shown} {escape(line)}</small></span>")
    factors = [f"{term.delta:.6g}", f"{term.input:.6g}"] if term.count == 1 else [_uses(e, term), ""]
    return [f"sample {term.row}", *weight, *factors, f"{term.product:.6g}", pull]


def _uses(e: Explanation, term: SampleTerm) -> Html:
    """The uses of the weight for one sample, to open by click."""
    uses, rest, others = term.strongest(_MOST)
    lines = [f"{u.delta:.6g} \u00d7 {u.local:.6g} = {u.product:+.6g}, through {e.called(u.unit)}" for u in uses]
    if others:
        lines.append(f"{rest:+.6g} in {others:,} more")
    opened = "".join(_leaf(escape(x)) for x in lines)
    return Html(f"<details><summary>{term.count:,} {term.places}</summary>{opened}</details>")


def _leaf(html: str) -> str:
    return f'<div class="leaf">{html}</div>'


def _chain(e: Explanation) -> str:
    if e.chain is None:
        return paragraph("No sample of this batch uses this weight.")
    head = paragraph(f"Sample {e.chain.row}, starting at the unit that the weight feeds:") + opened_link(
        e.chain, called=e.called
    )
    return head + "".join(map(paragraph, text.decision_lines(e)))


def opened_link(link: ChainLink, before: str = "", called: Callable[[Unit], str] = str) -> str:
    """A delta and the terms that it is the sum of, to open and close by click; `called` names a
    unit.
    """
    note = f' <span class="note">{escape(link.note)}</span>' if link.note else ""
    line = f"{escape(before)}\u03b4 of {escape(called(link.unit))} = {link.delta:.6g}, value {link.value:.5g}{note}"
    if link.loss is not None:
        return _leaf(f"{line}: {escape(text.loss_line(link.loss))}")
    inner = "".join(
        opened_link(
            term, f"{term.local_derivative:.5g} \u00d7 {term.delta:.5g} = {term.product:+.5g}, through ", called
        )
        for term in link.terms
    )
    if link.others:
        inner += _leaf(f"{link.rest:+.5g} through {link.others} more")
    if link.unused:
        inner += _leaf(escape(f"= 0: {link.unused}"))
    return f"<details open><summary>{line}</summary>{inner}</details>" if inner else _leaf(line)


def _paths(e: Explanation) -> str:
    rows = []
    for path in e.paths[: 2 * WIDTH]:
        words = text.path_words(e, path)
        units, factors = " \u2192 ".join(words[0]), " \u00d7 ".join(words[1])
        rows.append([text.share(e, path.product), f"{path.product:.5g}", f"{units} \u2192 loss: {factors}"])
    listed = table(["share", "product", "path and its local derivatives"], rows) if rows else ""
    return paragraph(text.paths_line(e)) + "".join(_attention(e, layer) for layer in e.attention) + listed


def _attention(e: Explanation, layer: Attention) -> str:
    """What comes through a layer of attention: by sample, position, head, and position attended
    to.
    """
    line = f"{text.share(e, layer.product)} {text.attention_line(e, layer)}"
    return paragraph(line) + _groups(e, layer.samples, [*LEVELS])


def _groups(e: Explanation, group: Group, levels: Sequence[str], row: int = 0) -> str:
    """The parts of a group, to open and close by click; at each level the first is open."""
    level, *inner = levels
    html = ""
    for k, part in enumerate(group.parts):
        row = part.number if level == "sample" else row
        line = f"{text.share(e, part.product)} ({part.product:.5g}): {text.group_words(e, level, part, row)}"
        opened = " open" if k == 0 else ""
        content = _groups(e, part, inner, row) if inner else ""
        html += (
            f"<details{opened}><summary>{escape(line)}</summary>{content}</details>" if inner else _leaf(escape(line))
        )
    if group.others:
        html += _leaf(f"{text.share(e, group.rest)} ({group.rest:.5g}): {group.others:,} more")
    return html


def _symbols(e: Explanation) -> str:
    return "".join(f"<p><code>{escape(owner)}</code>{formula(rule)}</p>" for owner, rule in e.rules)


def _proof(e: Explanation) -> str:
    head = [f"change of the loss of {e.proof.loss_before:.6g}", "measured", "predicted by the derivatives"]
    return table(["dL/dw", ""], text.gradient_check(e)) + table(head, text.effects(e))
