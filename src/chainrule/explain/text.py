"""An explanation as text for a terminal: six levels, each readable on its own."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.data import Sample
from chainrule.explain.chain import WIDTH, ChainLink
from chainrule.explain.explanation import Explanation
from chainrule.explain.trace import LossTerm


def lines(explanation: Explanation) -> list[str]:
    """All six levels."""
    levels = (update, gradient, chain, paths, in_symbols, proof)
    return [line for k, level in enumerate(levels, start=1) for line in _level(k, level, explanation)]


def _level(number: int, level: object, explanation: Explanation) -> Iterator[str]:
    title = (level.__doc__ or "").splitlines()[0].rstrip(".")
    if number > 1:
        yield ""
    yield f"{number}. {title}"
    yield from (f"   {line}" for line in level(explanation))  # type: ignore[operator]


def update_line(e: Explanation) -> str:
    """Before, what was subtracted, after."""
    sign = "-" if e.update >= 0 else "+"
    return f"{e.weight}: {e.value_before:.6g} {sign} {abs(e.update):.4g} = {e.value_after:.6g}"


def gradient_line(e: Explanation, most: int = 2) -> str:
    """dL/dw = its largest products, the rest, and their sum."""
    parts = [f"{term.product:+.4g} (sample {term.row})" for term in e.samples[:most]]
    others = e.samples[most:]
    if others:
        parts.append(f"{sum(term.product for term in others):+.4g} ({len(others)} more)")
    parts += [f"{added:+.4g} ({name.partition(',')[0]})" for name, added in e.penalties]
    return f"dL/d {e.weight} = {' '.join(parts) or '0'} = {e.gradient:.4g}"


def update(e: Explanation) -> Iterator[str]:
    """The update: gradient descent uses the gradient."""
    yield f"step {e.step}   {update_line(e)}{f'   ({e.about})' if e.about else ''}"
    yield f"the gradient came in as {e.training_gradient:.6g}; the stages of the optimizer made of it:"
    for stage in e.stages:
        yield f"  {stage.stage:16} {stage.formula}"
    if e.stages and e.stages[-1].output is None:
        yield "no step was taken yet, so the weight stays as it is"
    else:
        yield "what comes out of the last stage is subtracted from the weight"


def gradient(e: Explanation) -> Iterator[str]:
    """The gradient: a sum over the batch, of delta times input."""
    weighted = any(term.weight is not None for term in e.samples)
    yield f"{'sample':>10} {'delta':>14} {'x input':>12} {'= product':>14}  pull on the weight"
    for term in e.samples[:WIDTH]:
        counts = f"; the sample's weight in its delta is {term.weight:.6g}" if weighted else ""
        if len(term.uses) == 1:
            factors = f"{term.delta:>14.6g} {term.input:>12.6g}"
        else:
            factors = f"{f'{len(term.uses)} uses, the sum':>27}"
        yield f"{term.row:>10} {factors} {term.product:>14.6g}  {term.pull}{counts}"
        for use in term.uses[:WIDTH] if len(term.uses) > 1 else ():
            yield f"{'':>10} {use.delta:>14.6g} {use.local:>12.6g} {use.product:>14.6g}  through {use.unit}"
        if len(term.uses) > WIDTH:
            others = term.uses[WIDTH:]
            yield f"{'':>10} {f'{len(others)} more uses':>27} {sum(use.product for use in others):>14.6g}"
        read = e.read(term.row)
        if read is not None:
            yield f"{'':>10} {sample_line(read)}"
    rest = e.samples[WIDTH:]
    if rest:
        yield f"{len(rest):>5} more {'':>27} {sum(term.product for term in rest):>14.6g}"
    for name, added in e.penalties:
        yield f"{name:>37}  {added:>14.6g}"
    yield f"{'dL/dw':>10} {'':>27} {e.gradient:>14.6g}"
    yield from rounding_lines(e)
    if all(term.product == 0 for term in e.samples):
        yield "nothing comes through for any sample of this batch: see the next level for where it stops"


def rounding_lines(e: Explanation) -> Iterator[str]:
    """What there is to say of the difference between this gradient and the one that training used."""
    found = e.rounding
    if found.difference == 0:
        return
    said = f"training computed {e.training_gradient:.9g} in {e.precision}; "
    if found.explains:
        said += f"the difference of {found.difference:.1g} is rounding, which can make up to {found.bound:.1g} here"
    else:
        said += f"the difference of {found.difference:.1g} is more than the {found.bound:.1g} that rounding explains"
    yield said


def sample_line(read: Sample, most: int = 5) -> str:
    """A sample as it was read, in a line: where it is from, its first cells, and its target."""
    cells = [f"{name} {_cell(value)}" for name, value in (read.values or {}).items()]
    more = f" and {len(cells) - most} more" if len(cells) > most else ""
    what = f": {', '.join(cells[:most])}{more}" if cells else ""
    return f"row {read.row} of {read.source}{what}; {read.target_name} {_cell(read.target)}"


def _cell(value: object) -> str:
    return "empty" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def chain(e: Explanation) -> Iterator[str]:
    """One delta opened: backpropagation computes it from the deltas of the units that it feeds."""
    if e.chain is None:
        yield "no sample of this batch uses this weight"
        return
    yield f"sample {e.chain.row}, the unit that the weight feeds:"
    yield from _opened(e.chain, "", e.chain.row)


def _opened(link: ChainLink, indent: str, row: int) -> Iterator[str]:
    of = "" if link.row == row else f" of sample {link.row}"
    value = f", value {link.value:.6g}"
    yield f"{indent}delta {link.unit}{of} = {link.delta:.6g}{value}{f'  ({link.note})' if link.note else ''}"
    if link.loss is not None:
        yield f"{indent}  = {loss_line(link.loss)}"
    elif not link.terms:
        yield f"{indent}  (opened no further: the depth ends here)"
    for term in link.terms:
        yield (
            f"{indent}  {term.local_derivative:.6g} x {term.delta:.6g} = {term.local_derivative * term.delta:+.6g},"
            " through"
        )
        yield from _opened(term, indent + "    ", row)
    if link.others:
        yield f"{indent}  {link.rest:+.6g} through {link.others} more"


def loss_line(term: LossTerm) -> str:
    """The loss's own derivative, of its factors."""
    weight = "" if term.sample_weight == 1 else f"{term.sample_weight:.6g} (the sample's weight) x "
    mean = "" if term.samples == 1 else f" / {term.samples} (samples in the batch)"
    return f"the loss's own derivative there: {weight}{term.slope:.6g}{mean}"


def paths(e: Explanation) -> Iterator[str]:
    """Paths from the weight to the loss: along a path one multiplies, where paths meet one adds."""
    found, data = e.paths, e.data_gradient
    if not found:
        yield "no path is open: somewhere on each of them a local derivative is 0"
        return
    for path in found[:WIDTH]:
        numbers = " x ".join(f"{number:.4g}" for number in (*path.locals, path.last))
        share = f"{path.product / data:.1%}" if data else "-"
        row = e.trace.rows[path.units[0].sample]
        yield f"{share:>8}  sample {row}: {' > '.join(str(unit) for unit in path.units)} > loss"
        yield f"          {numbers} = {path.product:.6g}"
    rest = data - sum(path.product for path in found[:WIDTH])
    if e.has_all_paths:
        yield f"{len(found)} paths in all; they add up to {sum(path.product for path in found):.6g}"
    else:
        yield f"all other paths together {rest:+.6g}; there are too many to list"


def in_symbols(e: Explanation) -> Iterator[str]:
    """In symbols, for these layers (LaTeX)."""
    yield from e.latex.splitlines()


def proof(e: Explanation) -> Iterator[str]:
    """The proof: the derivative measured, and what the step did."""
    found = e.proof
    yield f"by the chain rule    {e.gradient:.12g}"
    yield f"by nudging           {found.numerical_gradient:.12g}"
    yield f"apart by             {abs(e.gradient - found.numerical_gradient):.2g}"
    yield f"this weight's step alone changes the loss of {found.loss_before:.6g} by {found.weight_alone:+.6g}; "
    yield f"  the derivative predicted {found.weight_predicted:+.6g}"
    yield f"the whole step changes it by {found.step:+.6g}; the derivatives predicted {found.step_predicted:+.6g}"
