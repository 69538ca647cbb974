"""An explanation as one HTML file: works offline, readable on a phone; its levels open and close by click."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from chainrule.explain import text
from chainrule.explain.explanation import WIDTH, ChainLink, Explanation
from chainrule.explain.scheme import draw

_STYLE = """
:root { color-scheme: light dark; --line: #c8c8c4; --soft: #f4f4f2; --ink: #1b1b1b; --back: #fff; --descent: #2b6e43; }
@media (prefers-color-scheme: dark) {
  :root { --line: #4a4a48; --soft: #262624; --ink: #ececea; --back: #191918; --descent: #7cc498; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; }
body { color: var(--ink); background: var(--back); overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: .2rem 0; }
.short { background: var(--soft); border-radius: .5rem; padding: .6rem .9rem; font-variant-numeric: tabular-nums; }
.short b { color: var(--descent); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; background: #fff; margin: .8rem 0; }
.wide svg { display: block; max-width: none; min-width: 56rem; width: 100%; height: auto; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
details details { border: 0; padding: .15rem 0 .15rem 1.1rem; }
details details summary, .leaf { font-weight: 400; }
.leaf { padding-left: 1.1rem; }
.note { font-style: italic; }
.table { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: right; white-space: nowrap; }
td:last-child, th:last-child { text-align: left; white-space: normal; min-width: 11rem; }
tr.sum { border-top: 2px solid var(--ink); font-weight: 600; }
math { display: block; overflow-x: auto; padding: .4rem 0; text-align: left; }
@media print { .wide, .table { overflow: visible; } .wide svg { min-width: 0; } }
"""


def page(e: Explanation) -> str:
    """The whole file."""
    levels: list[tuple[str, Callable[[Explanation], str]]] = [
        ("The update: gradient descent uses the gradient", _update),
        ("The gradient: a sum over the batch", _gradient),
        ("One delta opened: backpropagation computes it from the deltas of the units that it feeds", _chain),
        ("Paths from the weight to the loss", _paths),
        ("In symbols", _symbols),
        ("The proof", _proof),
    ]
    parts = [
        f'<details id="level-{k}"{" open" if k <= 2 else ""}><summary>{k}.'
        f" {escape(title)}</summary>{level(e)}</details>"
        for k, (title, level) in enumerate(levels, start=1)
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width, initial-scale=1"><title>{escape(e.weight)}, step'
        f" {e.step}</title><style>{_STYLE}</style></head><body><h1>Why {escape(e.weight)} changed in step"
        f' {e.step}</h1><p class="short">Backpropagation: {escape(text.gradient_line(e))}<br>Gradient descent:'
        f' <b>{escape(text.update_line(e))}</b></p><div class="wide">{draw(e)}</div>{"".join(parts)}</body></html>\n'
    )


def _paragraph(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def _table(head: list[str], rows: list[list[str]], total: list[str] | None = None) -> str:
    def row(cells: list[str], tag: str = "td", kind: str = "") -> str:
        return f"<tr{kind}>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    last = row(total, kind=' class="sum"') if total else ""
    return f'<div class="table"><table>{row(head, "th")}{"".join(map(row, rows))}{last}</table></div>'


def _update(e: Explanation) -> str:
    rows = [
        [stage.stage, f"{stage.input:.6g}", "-" if stage.output is None else f"{stage.output:.6g}", stage.formula]
        for stage in e.stages
    ]
    waits = bool(e.stages) and e.stages[-1].output is None
    after = (
        "No step was taken yet, so the weight stays as it is."
        if waits
        else "What comes out of the last stage is subtracted:"
    )
    return _table(["stage", "in", "out", "formula"], rows) + _paragraph(f"{after} {text.update_line(e)}")


def _gradient(e: Explanation) -> str:
    def pull(product: float) -> str:
        return "" if not product else "pulls the weight down" if product > 0 else "pulls the weight up"

    most = 12
    rows = [
        [f"sample {t.row}", f"{t.delta:.6g}", f"{t.input:.6g}", f"{t.product:.6g}", pull(t.product)]
        for t in e.samples[:most]
    ]
    rest = e.samples[most:]
    if rest:
        rows.append([f"{len(rest)} more", "", "", f"{sum(t.product for t in rest):.6g}", ""])
    rows += [[name, "", "", f"{added:.6g}", ""] for name, added in e.penalties]
    table = _table(["", "delta", "times input", "= product", ""], rows, ["dL/dw", "", "", f"{e.gradient:.6g}", ""])
    apart = e.gradient - e.training_gradient
    if apart:
        table += _paragraph(f"Training computed {e.training_gradient:.6g}; the difference of {apart:.1g} is rounding.")
    return table


def _chain(e: Explanation) -> str:
    if e.chain is None:
        return _paragraph("No sample of this batch uses this weight.")
    return _paragraph(f"Sample {e.chain.row}, beginning with the unit that the weight feeds:") + _link(e.chain, "")


def _link(link: ChainLink, before: str) -> str:
    value = "" if link.value is None else f", value {link.value:.5g}"
    note = f' <span class="note">{escape(link.note)}</span>' if link.note else ""
    line = f"{escape(before)}\u03b4 of {escape(str(link.unit))} = {link.delta:.6g}{value}{note}"
    if link.is_last:
        return f'<div class="leaf">{line}, the loss\'s own derivative</div>'
    inner = "".join(
        _link(t, f"{t.local_derivative:.5g} \u00d7 {t.delta:.5g} = {t.local_derivative * t.delta:+.5g}, through ")
        for t in link.terms
    )
    if link.others:
        inner += f'<div class="leaf">{link.rest:+.5g} through {link.others} more</div>'
    return f"<details open><summary>{line}</summary>{inner}</details>" if inner else f'<div class="leaf">{line}</div>'


def _paths(e: Explanation) -> str:
    if not e.paths:
        return _paragraph("No path is open: somewhere on each of them a local derivative is 0.")
    data = sum(term.product for term in e.samples)
    rows = []
    for path in e.paths[: 2 * WIDTH]:
        share = f"{path.product / data:.1%}" if data else "-"
        numbers = " \u00d7 ".join(f"{number:.4g}" for number in (*path.locals, path.last))
        units = " \u2192 ".join(str(unit) for unit in path.units)
        rows.append([share, f"{path.product:.5g}", f"{units} \u2192 loss: {numbers}"])
    words = "Along a path one multiplies, where paths meet one adds. "
    count = (
        f"{len(e.paths)} paths in all; they add up to {data:.6g}."
        if e.has_all_paths
        else "These are the strongest of very many."
    )
    return _paragraph(words + count) + _table(["share", "product", "path and its local derivatives"], rows)


def _symbols(e: Explanation) -> str:
    from latex2mathml.converter import convert

    lines = e.latex.splitlines()[1:-1]
    made = []
    for line in lines:
        name, _, formula = line.removesuffix(r" \\").partition(r":} \quad & ")
        words = name.removeprefix(r"\text{").replace(r"\_", "_")
        made.append(f"<p><code>{escape(words)}</code>{convert(formula)}</p>")
    return "".join(made)


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
    return _table(["dL/dw", ""], rows) + _table(head, effect)
