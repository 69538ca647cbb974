"""An explanation as one HTML file: works offline, readable on a phone; its levels open and close by click."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from chainrule.explain import text
from chainrule.explain.chain import WIDTH, ChainLink
from chainrule.explain.explanation import Explanation, SampleTerm
from chainrule.explain.html import PRINT_ALL, Html, document, formula, paragraph, picture, table
from chainrule.explain.scheme import draw
from chainrule.explain.update import words

_MOST = 12
"""Samples that the page lists; the others are added up."""

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
"""


def page(e: Explanation) -> str:
    """The whole file."""
    about = paragraph(f"It is {e.about}.") if e.about else ""
    body = (
        f"<h1>Why {escape(e.weight)} changed in step {e.step}</h1>{about}"
        f'<p class="short">Backpropagation: {escape(text.gradient_line(e))}<br>Gradient descent:'
        f' <b>{escape(text.update_line(e))}</b></p><div class="wide">{draw(e)}</div>{levels(e)}'
    )
    return document(f"{e.weight}, step {e.step}", body, _STYLE, PRINT_ALL)


def levels(e: Explanation) -> str:
    """The six levels, the first two of them open."""
    every: list[tuple[str, Callable[[Explanation], str]]] = [
        ("The update: gradient descent uses the gradient", _update),
        ("The gradient: a sum over the batch", _gradient),
        ("One delta opened: backpropagation computes it from the deltas of the units that it feeds", _chain),
        ("Paths from the weight to the loss", _paths),
        ("In symbols", _symbols),
        ("The proof", _proof),
    ]
    return "".join(
        f'<details id="level-{k}"{" open" if k <= 2 else ""}><summary>{k}.'
        f" {escape(title)}</summary>{level(e)}</details>"
        for k, (title, level) in enumerate(every, start=1)
    )


def _update(e: Explanation) -> str:
    rows = [
        [words(s.stage), f"{s.input:.6g}", "-" if s.output is None else f"{s.output:.6g}",
         Html(f"<span>{escape(s.formula)}</span>{formula(s.symbols)}")]
        for s in e.stages
    ]  # fmt: skip
    waits = bool(e.stages) and e.stages[-1].output is None
    after = (
        "No step was taken yet, so the weight stays as it is."
        if waits
        else "What comes out of the last stage is subtracted:"
    )
    head = ["stage", "in", "out", "formula"]
    return table(head, rows) + paragraph(f"{after} {text.update_line(e)}")


def _gradient(e: Explanation) -> str:
    weighted = any(term.weight is not None for term in e.samples)
    rows = [_sample_row(e, term) for term in e.samples[:_MOST]]
    rest = e.samples[_MOST:]
    blank = [""] * weighted
    if rest:
        rows.append([f"{len(rest)} more", *blank, "", "", f"{sum(t.product for t in rest):.6g}", ""])
    rows += [[name, *blank, "", "", f"{added:.6g}", ""] for name, added in e.penalties]
    head = ["", *(["sample's weight"] * weighted), "delta", "times input", "= product", "pull on the weight"]
    made = table(head, rows, ["dL/dw", *blank, "", "", f"{e.gradient:.6g}", ""])
    if weighted:
        made += paragraph("The weight of a sample is a factor of its delta: it multiplies the sample's loss.")
    return made + "".join(map(paragraph, text.rounding_lines(e)))


def _sample_row(e: Explanation, term: SampleTerm) -> list[str]:
    """A sample's product, and the sample as it was read: its row of the table, or its picture."""
    read = e.read(term.row)
    counts = [] if term.weight is None else [f"{term.weight:.6g}"]
    about: str = term.pull
    if read is not None:
        line = text.sample_line(read)
        shown = "" if read.picture is None else picture(read.picture, line)
        about = Html(f"<span>{escape(about)}<small>{shown} {escape(line)}</small></span>")
    if len(term.uses) == 1:
        factors = [f"{term.delta:.6g}", f"{term.input:.6g}"]
    else:
        factors = [_uses(term), ""]
    return [f"sample {term.row}", *counts, *factors, f"{term.product:.6g}", about]


def _uses(term: SampleTerm) -> Html:
    """The uses of a weight that a sample makes several of, to open by click."""
    lines = [f"{u.delta:.6g} \u00d7 {u.local:.6g} = {u.product:+.6g}, through {u.unit}" for u in term.uses[:_MOST]]
    if len(term.uses) > _MOST:
        lines.append(f"{sum(u.product for u in term.uses[_MOST:]):+.6g} in {len(term.uses) - _MOST} more")
    inner = "".join(f'<div class="leaf">{escape(line)}</div>' for line in lines)
    return Html(f"<details><summary>{len(term.uses)} uses</summary>{inner}</details>")


def _chain(e: Explanation) -> str:
    if e.chain is None:
        return paragraph("No sample of this batch uses this weight.")
    return paragraph(f"Sample {e.chain.row}, beginning with the unit that the weight feeds:") + opened_link(e.chain)


def opened_link(link: ChainLink, before: str = "") -> str:
    """A delta with what it came from, to open and close by click."""
    value = f", value {link.value:.5g}"
    note = f' <span class="note">{escape(link.note)}</span>' if link.note else ""
    line = f"{escape(before)}\u03b4 of {escape(str(link.unit))} = {link.delta:.6g}{value}{note}"
    if link.loss is not None:
        return f'<div class="leaf">{line}: {escape(text.loss_line(link.loss))}</div>'
    inner = "".join(
        opened_link(t, f"{t.local_derivative:.5g} \u00d7 {t.delta:.5g} = {t.local_derivative * t.delta:+.5g}, through ")
        for t in link.terms
    )
    if link.others:
        inner += f'<div class="leaf">{link.rest:+.5g} through {link.others} more</div>'
    return f"<details open><summary>{line}</summary>{inner}</details>" if inner else f'<div class="leaf">{line}</div>'


def _paths(e: Explanation) -> str:
    if not e.paths:
        return paragraph("No path is open: somewhere on each of them a local derivative is 0.")
    rows = []
    for path in e.paths[: 2 * WIDTH]:
        share = f"{path.product / e.data_gradient:.1%}" if e.data_gradient else "-"
        numbers = " \u00d7 ".join(f"{number:.4g}" for number in (*path.locals, path.last))
        units = " \u2192 ".join(str(unit) for unit in path.units)
        rows.append([share, f"{path.product:.5g}", f"{units} \u2192 loss: {numbers}"])
    said = "Along a path one multiplies, where paths meet one adds. "
    said += (
        f"{len(e.paths)} paths in all; they add up to {e.data_gradient:.6g}."
        if e.has_all_paths
        else "These are the strongest of very many."
    )
    return paragraph(said) + table(["share", "product", "path and its local derivatives"], rows)


def _symbols(e: Explanation) -> str:
    return "".join(f"<p><code>{escape(place)}</code>{formula(rule)}</p>" for place, rule in e.rules)


def _proof(e: Explanation) -> str:
    proof = e.proof
    rows = [
        ["by the chain rule", f"{e.gradient:.12g}"],
        ["by nudging the weight to both sides", f"{proof.numerical_gradient:.12g}"],
        ["apart by", f"{abs(e.gradient - proof.numerical_gradient):.2g}"],
    ]
    effect = [
        ["this weight's step alone", f"{proof.weight_alone:+.6g}", f"{proof.weight_predicted:+.6g}"],
        ["the whole step", f"{proof.step:+.6g}", f"{proof.step_predicted:+.6g}"],
    ]
    head = ["what it did to the loss of " + f"{proof.loss_before:.6g}", "measured", "predicted by the derivatives"]
    return table(["dL/dw", ""], rows) + table(head, effect)
