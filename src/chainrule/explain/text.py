"""An explanation as text for a terminal: what happened, then six levels, each readable on its own.

In short, a sum is opened along its strongest term alone, and the others are added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chainrule.data import Sample
from chainrule.explain.chain import WIDTH, ChainLink
from chainrule.explain.digits import difference
from chainrule.explain.paths import Path
from chainrule.explain.time_steps import StepsBack, binned, factor
from chainrule.explain.trace import LossTerm
from chainrule.summary import LONGEST, one_line, short
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.attention import Attention, Group
    from chainrule.explain.explanation import Explanation, SampleTerm
    from chainrule.explain.paths import Path

TITLES = (
    "The update: gradient descent uses the gradient",
    "The gradient: a sum over the batch of delta times input",
    "One delta opened: backpropagation computes it from the deltas of the units that it feeds",
    "Paths from the weight to the loss: multiply along a path, add where paths meet",
    "In symbols",
    "The proof: the derivative measured, and the effect of the step",
)


FEW = 2
"""Of a sum in short, so many terms are listed, and the first is opened."""


def lines(e: Explanation, every: bool = True) -> list[str]:
    """All six levels; in short without the rule in symbols, and with fewer terms of each sum."""
    levels = (
        _update(e), _gradient(e), _chain(e, WIDTH if every else FEW), _paths(e, WIDTH if every else FEW),
        e.latex.splitlines() if every else (), _proof(e),
    )  # fmt: skip
    text = [*headline(e)]
    shown = ((title, list(level)) for title, level in zip(TITLES, levels, strict=True))
    for number, (title, level) in enumerate(((title, level) for title, level in shown if level), start=1):
        text += ["", f"{number}. {title}", *(f"   {line}" for line in level)]
    return text


def headline(e: Explanation) -> Iterator[str]:
    """The chain rule, the gradient and the update, in a line each."""
    yield f"{e.weight} in step {e.step}{f': {short(one_line(e.about), LONGEST)}' if e.about else ''}"
    if e.paths:
        path = e.paths[0]
        units, factors = path_words(e, path)
        row = e.trace.rows[path.units[0].sample]
        yield f"  chain rule        {' x '.join(factors)} = {path.product:.4g}: the strongest path, of sample {row}:"
        yield f"                    {' > '.join([e.weight, *units, 'loss'])}"
    yield f"  gradient          {gradient_line(e)}"
    yield f"  gradient descent  {difference(e.value_before, e.update, e.value_after)}"


def update_line(e: Explanation) -> str:
    """The weight before, the step subtracted from it, and the weight after."""
    return f"{e.weight}: {difference(e.value_before, e.update, e.value_after)}"


def gradient_line(e: Explanation, most: int = 2) -> str:
    """dL/dw = its largest products, the rest, and their sum."""
    terms = [*((f"sample {term.row}", term.product) for term in e.samples[:most]), *remaining_terms(e, most)]
    products = " ".join(f"{product:+.4g} ({name.partition(',')[0]})" for name, product in terms)
    return f"dL/d {e.weight} = {products or '0'} = {e.gradient:.4g}"


def decision_lines(e: Explanation) -> Iterator[str]:
    """What is predicted for the sample, where a threshold decides between two classes."""
    if e.decision is not None and e.chain is not None:
        yield f"Of sample {e.chain.row}, {e.decision.words}. The loss and its derivatives do not depend on that."


def remaining_terms(e: Explanation, shown: int) -> list[tuple[str, float]]:
    """The terms of the gradient that are not shown: all other samples, and each penalty."""
    others = e.samples[shown:]
    rest = [(f"{len(others)} more", sum(term.product for term in others))] if others else []
    return [*rest, *e.penalties]


def outcome(e: Explanation) -> str:
    """What happens to the output of the optimizer's last stage."""
    if e.stages and e.stages[-1].output is None:
        return "No step is taken yet, so the weight stays as it is."
    return "The output of the last stage is subtracted from the weight."


def _update(e: Explanation) -> Iterator[str]:
    yield f"step {e.step}   {update_line(e)}"
    yield f"The gradient {e.training_gradient:.6g} passes through the stages of the optimizer:"
    yield from (f"  {stage.stage:16} {stage.formula}" for stage in e.stages)
    yield outcome(e)


def augmented_line(e: Explanation) -> str:
    """That samples are shown as the step used them; empty if nothing changed them."""
    return f"The step augmented its samples ({e.augmentation}); their inputs are those that it used." * bool(
        e.augmentation
    )


def _gradient(e: Explanation) -> Iterator[str]:
    yield from filter(None, [where_line(e), augmented_line(e)])
    yield f"{'sample':>10} {'delta':>14} {'x input':>12} {'= product':>14}  pull on the weight"
    for term in e.samples[:WIDTH]:
        yield from _sample_lines(e, term)
    for name, product in (*remaining_terms(e, WIDTH), ("dL/dw", e.gradient)):
        yield f"{name:>38} {product:>14.6g}"
    yield from rounding_lines(e)
    yield from time_lines(e)
    if all(term.product == 0 for term in e.samples):
        yield "Nothing comes through for any sample of this batch: the next level shows where it stops."


def _sample_lines(e: Explanation, term: SampleTerm) -> Iterator[str]:
    """A sample's product, its factors or uses, and the sample as it was read."""
    several = term.count > 1
    uses, rest, others = term.strongest(WIDTH)
    factors = (
        f"{f'{term.count:,} {term.places}, the sum':>27}" if several else f"{term.delta:>14.6g} {term.input:>12.6g}"
    )
    weight = "" if term.weight is None else f"; the sample's weight in its delta is {term.weight:.6g}"
    yield f"{term.row:>10} {factors} {term.product:>14.6g}  {term.pull}{weight}"
    for use in uses if several else ():
        yield f"{'':>10} {use.delta:>14.6g} {use.local:>12.6g} {use.product:>14.6g}  through {e.called(use.unit)}"
    if others:
        yield f"{f'{others:,} more {term.places[: -1 if others == 1 else None]}':>38} {rest:>14.6g}"
    if (sample := e.read(term.row)) is not None:
        yield f"{'':>10} {sample_line(sample)}"


def where_line(e: Explanation) -> str:
    """Where the weight is used, if that is more than once for a sample; empty otherwise."""
    uses = e.where
    if sum(use.times for use in uses) == max((use.samples for use in uses), default=0):
        return ""
    times = sum(use.times for use in uses)
    return f"The weight is used {times:,} times, and each use has a term: {'; '.join(map(str, uses))}."


def rounding_lines(e: Explanation) -> Iterator[str]:
    """A sentence on how the gradient that training used differs from the exact one, if it does."""
    rounding = e.rounding
    if rounding.difference:
        verdict = "within the" if rounding.explains else "more than the"
        yield (
            f"Training computed {e.training_gradient:.9g} in {e.precision}: the difference of {rounding.difference:.1g}"
            f" is {verdict} {rounding.bound:.1g} that rounding can cause."
        )


def time_lines(e: Explanation) -> Iterator[str]:
    """How many time steps back the gradient comes from, for a weight of a recurrent layer."""
    steps = e.steps_back()
    if len(steps) < 2:
        return
    yield time_title(e)
    yield f"{'steps back':>10} {'product':>14} {'share':>7} {'|delta|':>10}"
    for back, step in time_rows(steps):
        bar = "\u2588" * round(BAR * step.share)
        yield f"{back:>10} {step.product:>14.6g} {step.share:>7.1%} {step.delta:>10.3g}  {bar}".rstrip()
    yield from filter(None, [factor_line(steps)])


def time_title(e: Explanation) -> str:
    """What the table of time steps shows."""
    what = "How many time steps back the products come from, their share by size, and the length of the delta there"
    positions = e.loss_positions
    if not positions:
        return f"{what}:"
    several = ", ".join(map(str, positions[:-1])) + " and " if len(positions) > 1 else ""
    return f"{what}. Steps are counted from the position of a loss, here at {several}{positions[-1]}:"


def time_rows(steps: Sequence[StepsBack]) -> list[tuple[str, StepsBack]]:
    """The rows of the table of time steps: how many steps back, and what comes from there."""
    return [(f"{first}" if first == last else f"{first} to {last}", step) for first, last, step in binned(steps)]


BAR = 30
"""The length of the bar of a share of 100 %."""


def factor_line(steps: Sequence[StepsBack]) -> str:
    """How the delta changes from step to step, in words; empty where there is nothing to
    compare.
    """
    each, known = factor(steps), [step for step in steps if step.delta > 0]
    if each is None:
        return ""
    first, last = known[0], known[-1]
    verdict = (
        "the gradient vanishes" if each < 0.95 else "the gradient explodes" if each > 1.05 else "it keeps its size"
    )
    return (
        f"From {first.back} to {last.back} steps back, |delta| goes from {first.delta:.3g} to {last.delta:.3g}: every"
        f" step multiplies it by {each:.3g}, on average; {verdict}."
    )


def sample_line(sample: Sample, most: int = 5) -> str:
    """A sample as it was read, in one line: its source, its first columns, and its target."""
    cells = [f"{_short(name)} {_short(_cell(value))}" for name, value in (sample.values or {}).items()]
    more = f" and {len(cells) - most} more" if len(cells) > most else ""
    columns = f": {', '.join(cells[:most])}{more}" if cells else ""
    which = sample.name or f"row {sample.row}"
    return f"{which} of {sample.source}{columns}; {_short(sample.target_name)} {_short(_cell(sample.target))}"


def _short(text: str) -> str:
    """A column's name or a value, cut and in one line."""
    return short(one_line(text))


def _cell(value: object) -> str:
    return "empty" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _chain(e: Explanation, most: int) -> Iterator[str]:
    if e.chain is None:
        yield "No sample of this batch uses this weight."
        return
    yield f"Sample {e.chain.row}, starting at the unit that the weight feeds:"
    yield from _opened(e, e.chain, "", e.chain.row, set(), most)
    yield from decision_lines(e)


def _opened(e: Explanation, link: ChainLink, indent: str, row: int, above: set[Unit], most: int) -> Iterator[str]:
    """A delta and the terms that it is the sum of, all of them or in short. `above` are the units
    already opened.
    """
    sample = "" if link.row == row else f" of sample {link.row}"
    note = f"  ({link.note})" if link.note else ""
    ended = link.loss is None and not link.unused and not link.terms
    repeated = bool(link.terms) and link.unit in above
    why = "  (not opened further: the depth ends here)" if ended else "  (opened above)" if repeated else ""
    yield f"{indent}delta {e.called(link.unit)}{sample} = {link.delta:.6g}, value {link.value:.6g}{note}{why}"
    if ended or repeated:
        return
    above.add(link.unit)
    if link.loss is not None:
        yield f"{indent}  = {loss_line(link.loss)}"
    elif link.unused:
        yield f"{indent}  = 0: {link.unused}"
    opened = len(link.terms) if most >= WIDTH else 1
    for k, term in enumerate(link.terms[:most]):
        product = f"{indent}  {term.local_derivative:.6g} x {term.delta:.6g} = {term.product:+.6g}, through"
        if k < opened:
            yield product
            yield from _opened(e, term, indent + "    ", row, above, most)
        else:
            sample = "" if term.row == row else f" of sample {term.row}"
            yield f"{product} {e.called(term.unit)}{sample}"
    if others := link.others + len(link.terms[most:]):
        rest = link.rest + sum(term.product for term in link.terms[most:])
        yield f"{indent}  {rest:+.6g} through {others:,} more"


def loss_line(term: LossTerm) -> str:
    """The derivative of the loss with respect to an output, as a product of its factors."""
    weight = "" if term.sample_weight == 1 else f"{term.sample_weight:.6g} (the sample's weight) x "
    mean = "" if term.samples == 1 else f" / {term.samples} (samples in the batch)"
    share = "" if term.share in (0, 1) else f" / {1 / term.share:.6g} (positions)"
    share = " x 0 (the position does not count)" if term.share == 0 else share
    meaning = f"; {term.meaning}" if term.meaning else ""
    return f"the derivative of the loss: {weight}{term.slope:.6g}{share}{mean}{meaning}"


def _paths(e: Explanation, most: int) -> Iterator[str]:
    for path in e.paths[:most]:
        units, factors = path_words(e, path)
        yield f"{share(e, path.product):>8}  sample {e.trace.rows[path.units[0].sample]}: {' > '.join(units)} > loss"
        yield f"          {' x '.join(factors)} = {path.product:.6g}"
    if len(e.paths) > most or (e.paths and not e.has_all_paths):
        rest = e.data_gradient - sum(path.product for path in e.paths[:most])
        others = f"{len(e.paths) - most:,} other" if e.has_all_paths else "all other"
        yield f"{share(e, rest):>8}  {others} paths: {rest:.6g}"
    yield paths_line(e)
    for layer in e.attention:
        yield f"{share(e, layer.product):>8}  {attention_line(e, layer)}"
        yield from _grouped(e, layer.samples, ATTENDED)


ATTENDED = (("sample", 2), ("position", 2), ("head", 2), ("key", 3))
"""How many samples, positions, heads and positions attended to are listed."""


def attention_line(e: Explanation, layer: Attention) -> str:
    """What comes through a layer of attention: the share of each head, if there are several."""
    each = [f"head {k} {share(e, product)}" for k, product in enumerate(layer.heads) if product]
    heads = f" ({', '.join(each)})" if len(layer.heads) > 1 else ""
    return f"through {layer.layer}, as positions attend to each other{heads}:"


def _grouped(
    e: Explanation, group: Group, levels: Sequence[tuple[str, int]], row: int = 0, indent: str = ""
) -> Iterator[str]:
    """What comes through attention by sample, position, head, and the position attended to."""
    if not levels:
        return
    (level, most), *inner = levels
    for part in group.parts[:most]:
        row = part.number if level == "sample" else row
        yield f"{share(e, part.product):>8}  {indent}{group_words(e, level, part, row)}"
        yield from _grouped(e, part, inner, row, indent + "  ")
    left = group.parts[most:]
    if count := len(left) + group.others:
        plural = {"key": "positions"}.get(level, f"{level}s") if count > 1 else {"key": "position"}.get(level, level)
        rest = sum(part.product for part in left) + group.rest
        yield f"{share(e, rest):>8}  {indent}{count:,} more {plural}"


def group_words(e: Explanation, level: str, part: Group, row: int) -> str:
    """A group of what comes through attention, in words."""
    if level == "position":
        return e.position(row, part.number)
    if level == "key":
        return f"attends to {e.position(row, part.number)} with the weight {part.weight:.4g}"
    return f"{level} {part.number}"


LONG, ENDS = 12, 4
"""Of a path of more units than LONG, so many at each end are written out."""


def path_words(e: Explanation, path: Path) -> tuple[list[str], list[str]]:
    """The units of a path and its factors, each in words; of a long path those at both ends, and
    what is left out between them.
    """
    ends = (path.units[0], path.units[-1])  # these with their place
    units = [e.called(unit) if unit in ends else unit.label for unit in path.units]
    factors = [f"{factor:.4g}" for factor in path.factors]
    if len(units) <= LONG:
        return units, factors
    times = {unit.time for unit in path.units[ENDS:-ENDS] if unit.time is not None}
    steps = f" at time steps {min(times)} to {max(times)}" if len(times) > 1 else ""
    left_out = math.prod(path.factors[ENDS : len(units) - ENDS])
    between = f"({len(units) - 2 * ENDS} more units{steps})", f"({left_out:.4g} by {len(units) - 2 * ENDS} more)"
    return [*units[:ENDS], between[0], *units[-ENDS:]], [*factors[:ENDS], between[1], *factors[len(units) - ENDS :]]


def share(e: Explanation, product: float) -> str:
    """A path's share of the gradient without penalties."""
    return f"{product / e.data_gradient:.1%}" if e.data_gradient else "-"


def paths_line(e: Explanation) -> str:
    """How many paths there are, and what they add up to."""
    if not e.paths:
        return "No path is open: each contains a local derivative of 0."
    total = sum(path.product for path in e.paths)
    if e.has_all_paths:
        return f"Number of paths: {len(e.paths)}; their products add up to {total:.6g}."
    return f"Too many paths to list: the {len(e.paths)} strongest add up to {total:.6g} of {e.data_gradient:.6g}."


def _proof(e: Explanation) -> Iterator[str]:
    yield from (f"{name:25} {number}" for name, number in gradient_check(e))
    for name, measured, predicted in effects(e):
        yield f"{name} changes the loss of {e.proof.loss_before:.6g} by {measured}; predicted: {predicted}"


def gradient_check(e: Explanation) -> list[tuple[str, str]]:
    """The gradient by the chain rule and as measured, and their difference."""
    measured = e.proof.numerical_gradient
    return [
        ("by the chain rule", f"{e.gradient:.12g}"),
        ("by a central difference", f"{measured:.12g}"),
        ("difference", f"{abs(e.gradient - measured):.2g}"),
    ]


def effects(e: Explanation) -> list[tuple[str, str, str]]:
    """The change of the loss, measured and predicted, by this weight's step and by the whole
    step.
    """
    proof = e.proof
    return [
        ("this weight's step alone", f"{proof.weight_alone:+.6g}", f"{proof.weight_predicted:+.6g}"),
        ("the whole step", f"{proof.step:+.6g}", f"{proof.step_predicted:+.6g}"),
    ]
