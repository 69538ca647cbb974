"""A recurrent cell over time, drawn: what one unit does at a few time steps, the state that it
passes on, the gradient that comes back, and how much of a weight's gradient comes from every step.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chainrule.arrays import Array
from chainrule.explain import svg
from chainrule.explain.cards import weight_symbol
from chainrule.explain.picture import short
from chainrule.explain.time_steps import by_step, scan_of, times_of
from chainrule.explain.trace import Trace
from chainrule.layers.graph import CompositeCall, Graph, Node
from chainrule.tape import Unit

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation

_CARD, _GAP = 142, 66
"""The least width of a time step, and of the gap between two."""
_BARS = 64
"""The height of the bars of all time steps."""


@dataclass(frozen=True)
class Step:
    """A time step of one unit.

    Attributes:
        time: the time step
        gates: what the activations of the cell give, by name
        states: the state after the step, by name
        arriving: dL/d each state, by name
        from_next: the part of it that comes from the next time step
        factors: the derivative of each state with respect to itself a step before, of this unit
        part: what of the gradient comes from this step
        product: how that is made, if the weight has one use here: its input, and its delta
    """

    time: int
    gates: dict[str, float]
    states: dict[str, float]
    arriving: dict[str, float]
    from_next: dict[str, float]
    factors: dict[str, float]
    part: float
    product: tuple[float, float] | None


@dataclass(frozen=True)
class Unrolled:
    """One unit of a recurrent cell over time, for one sample.

    Attributes:
        call: the scan
        row: the sample's row in the training set
        unit: the unit of the cell
        times: the time steps, in the order in which the scan takes them
        parts: (steps,) what of the gradient comes from each of them
        own: the place among them of the step where most comes from
        is_own: whether the weight belongs to the cell
        gate: the gate that it feeds, by name; empty for weights outside of the cell
    """

    call: CompositeCall
    row: int
    unit: int
    times: list[int]
    parts: Array
    own: int
    is_own: bool
    gate: str


def unrolled_of(e: Explanation) -> Unrolled | None:
    """The scan that the weight belongs to or, for other weights, the one through which most of the
    gradient of the chain's sample comes, and its unit; None if the weight reaches none.
    """
    assert e.chain is not None
    trace, sample = e.trace, e.chain.unit.sample
    graph, entry = trace.network.graph, trace.network.parameters.entry_at(e.place)
    call = scan_of(graph, entry.owner)
    is_own = call is not None
    if call is not None:
        times = times_of(graph, call)
        parts = by_step(trace.tape, call, entry.owner, entry.own_name, e.weight_index)[0][sample]
    else:
        scans = [c for c in graph.calls if times_of(graph, c) and not _has_scan_within(graph, c)]
        flows = {c.name: e.slopes.flows(_sums(graph, c))[sample] for c in scans}
        reached = [c for c in scans if flows[c.name].any()]
        if not reached:
            return None
        call = max(reached, key=lambda c: abs(float(flows[c.name].sum())))
        times = times_of(graph, call)
        parts = flows[call.name].reshape(len(times), -1).sum(axis=1)[np.array(times)]
    own = int(np.argmax(np.abs(parts)))
    states = _states(graph, call)
    width = graph.shapes[next(iter(states[times[own]].values()))][-1]
    if is_own:
        unit = e.chain.unit.index[-1] % width
    else:
        here = e.slopes.flows(_sums(graph, call))[sample].reshape(len(times), -1, width)[times[own]]
        unit = int(np.argmax(np.abs(here.sum(axis=0))))
    gate = _gate(e, call, width) if is_own else ""
    return Unrolled(call, int(trace.rows[sample]), int(unit), times, parts, own, is_own, gate)


def _gate(e: Explanation, call: CompositeCall, width: int) -> str:
    """The name of the first activation of the cell that the weight's unit leads to."""
    assert e.chain is not None
    graph, unit = e.trace.network.graph, e.chain.unit
    names = {node.name for node in graph.nodes[call.start : call.stop]}
    for _ in names:
        groups = [group for group in e.trace.tape.feeds(unit) if len(group.local) and group.node in names]
        if not groups:
            return ""
        unit = Unit(groups[0].node, tuple(groups[0].at[0].tolist()))
        node = graph.node(unit.node)
        if node.layer.elementwise and node.built.output_shape == (width,):
            return _called(node)
    return ""


def _has_scan_within(graph: Graph, call: CompositeCall) -> bool:
    """Whether a call is around a scan, as that of both directions is."""
    inner = (c for c in graph.calls if c is not call and c.start >= call.start and c.stop <= call.stop)
    return any(times_of(graph, c) for c in inner)


def _sums(graph: Graph, call: CompositeCall) -> int:
    """The number of the value that all inputs of the scan become before the first step."""
    return len(graph.input_shapes) + call.start


def _nodes(graph: Graph, call: CompositeCall) -> dict[int, list[Node]]:
    """The nodes of each time step."""
    steps: dict[int, list[Node]] = {}
    for node in graph.nodes[call.start : call.stop]:
        if node.time is not None:
            steps.setdefault(node.time, []).append(node)
    return steps


def _states(graph: Graph, call: CompositeCall) -> dict[int, dict[str, int]]:
    """By name, the numbers of the values that each time step leaves to the next; of the last one,
    those of the same layers.
    """
    steps = _nodes(graph, call)
    times = [*steps]
    numbers = {time: {graph.numbers[node.name] for node in steps[time]} for time in times}
    states: dict[int, dict[str, int]] = {}
    for time, after in itertools.pairwise(times):
        read = dict.fromkeys(k for node in steps[after] for k in node.inputs if k in numbers[time])
        states[time] = {_state_name(graph, number): number for number in read}
    final, result = steps[times[-1]], graph.numbers[steps[times[-1]][-1].name]
    if len(times) == 1:
        return {times[0]: {"h": result}}
    owners = {node.owner: graph.numbers[node.name] for node in final}
    states[times[-1]] = {}
    for name, number in states[times[-2]].items():
        owner = graph.nodes[number - len(graph.input_shapes)].owner
        if owner in owners:
            states[times[-1]][name] = owners[owner]
        elif result not in states[times[-1]].values():  # it has the name of the scan, whose output it is
            states[times[-1]][name] = result
    return states


def _called(node: Node) -> str:
    """The name of a node within its cell."""
    return node.owner.rpartition(".")[2]


def _state_name(graph: Graph, number: int) -> str:
    """The name of a state: where lengths choose between two, that of the one that was computed."""
    first = len(graph.input_shapes)
    node = graph.nodes[number - first]
    is_choice = len(node.inputs) == 3 and node.inputs[0] >= first
    return _called(graph.nodes[node.inputs[0] - first] if is_choice else node)


def step_of(e: Explanation, one: Unrolled, k: int) -> Step:
    """What the unit does at the k-th time step."""
    assert e.chain is not None
    trace, sample, unit = e.trace, e.chain.unit.sample, one.unit
    graph, tape, time = trace.network.graph, trace.tape, one.times[k]
    all_states = _states(graph, one.call)
    states = all_states[time]
    width = graph.shapes[next(iter(states.values()))][-1]
    gates = {
        _called(node): float(tape.values[graph.numbers[node.name]][sample, unit])
        for node in _nodes(graph, one.call)[time]
        if node.layer.elementwise
        and node.built.output_shape == (width,)
        and _called(node) not in states
        and graph.numbers[node.name] not in states.values()
    }
    arriving, from_next, factors = {}, {}, {}
    before = all_states[one.times[k - 1]] if k else {}
    for name, number in states.items():
        arriving[name] = float(tape.arrived(graph.nodes[number - len(graph.input_shapes)].name)[sample, unit])
        feeds = tape.feeds_of_value(number, (sample, unit))
        after = one.times[k + 1] if k + 1 < len(one.times) else None
        from_next[name] = sum(float(group.products.sum()) for group in feeds if group.time == after is not None)
        if name in before:
            factors[name] = _factor(trace, one, time, number, before[name], sample)
    return Step(
        time, gates, {name: float(tape.values[number][sample, unit]) for name, number in states.items()}, arriving,
        from_next, factors, float(one.parts[k]), _use(e, one, time),
    )  # fmt: skip


def _factor(trace: Trace, one: Unrolled, time: int, after: int, before: int, sample: int) -> float:
    """The derivative of a state of the unit with respect to itself a step before, along all paths
    within the step.
    """
    graph, tape = trace.network.graph, trace.tape
    arrivals = {after: np.zeros_like(tape.values[after])}
    arrivals[after][sample, one.unit] = 1
    for node in reversed(_nodes(graph, one.call)[time]):
        arriving = arrivals.get(graph.numbers[node.name])
        if arriving is None:
            continue
        params, saved, _ = tape.of(node)
        dx = node.layer.input_derivative(params, saved, arriving)
        for which, number in enumerate(node.inputs):
            part = dx[which] if isinstance(dx, tuple) else dx
            arrivals[number] = arrivals[number] + part if number in arrivals else part
    found = arrivals.get(before)
    return 0.0 if found is None else float(found[sample, one.unit])


def _use(e: Explanation, one: Unrolled, time: int) -> tuple[float, float] | None:
    """The input and the delta of the weight's use at a time step."""
    assert e.chain is not None
    if not one.is_own:
        return None
    for group in e.terms:
        here = group.at[:, 0] == e.chain.unit.sample
        if group.time is None:
            here &= group.at[:, 1] == time
        elif group.time != time:
            continue
        if np.count_nonzero(here) == 1:
            return float(group.local[here][0]), float(group.upstream[here][0])
    return None


# The drawing


def drawn(e: Explanation, one: Unrolled, width: float, left: float) -> tuple[str, float]:
    """The cell over time, and the height.

    Args:
        e: the explanation
        one: what to draw
        width: the width there is, in CSS pixels
        left: where it begins
    """
    parts, y = [], 0.0
    count = max(1, min(len(one.times), int((width + _GAP) / (_CARD + _GAP))))
    first = max(0, min(one.own - (1 if count > 2 else 0), len(one.times) - count))
    for line in svg.wrapped(_words(e, one, count), width, 13):
        y += 17
        parts.append(svg.text(left, y, line, 13))
    y += 12
    gap = min((width - count * _CARD) / max(count - 1, 1), 110) if count > 1 else 0.0
    card = min((width - (count - 1) * gap) / count, 200)
    steps = [step_of(e, one, k) for k in range(first, first + count)]
    high = max(_height(step) for step in steps)
    for k, step in enumerate(steps):
        x = left + k * (card + gap)
        parts.append(_card(e, one, step, x, y, card, high, first + k == one.own))
        if k:
            parts.append(_passing(steps[k - 1], step, x - gap, x, y, high))
    y += high + 12
    bars, low = _bars(one, first, count, width, left, y)
    return f'<g class="unrolled">{"".join(parts)}{bars}</g>', low


def _words(e: Explanation, one: Unrolled, count: int) -> str:
    """What is drawn."""
    shown = f"{count} of its {len(one.times)}" if count < len(one.times) else f"its {count}"
    gate = f" and feeds {one.gate}, outlined" if one.gate else ""
    return (
        f"Unit {one.unit} of {one.call.name}, sample {one.row}, at {shown} time steps: its state goes right, times its"
        " derivative by itself one step before; the derivative of the loss, in blue, comes back. The weight is the same"
        f" at each{gate}; the parts of \u2202L/\u2202{weight_symbol(e)} of all steps add up to"
        f" {short(float(one.parts.sum()))} for this sample."
    )


def _lines(step: Step) -> list[tuple[str, str, str, float | None]]:
    """The lines of a time step: a name, a number, its colour, and the length of a bar from 0 to
    1.
    """
    lines: list[tuple[str, str, str, float | None]] = []
    for name, value in step.gates.items():
        lines.append((name, short(value, 3), "ink", min(abs(value), 1.0)))
    for name, value in step.states.items():
        lines.append((name, short(value, 4), "ink", None))
    for name, value in step.arriving.items():
        lines.append((f"\u2202L/\u2202{name}", short(value, 3), "plus", None))
    return lines


def _height(step: Step) -> float:
    return 26 + svg.LINE * len(_lines(step)) + 8 + svg.LINE * (2 if step.product else 1) + 8


def _card(
    e: Explanation, one: Unrolled, step: Step, x: float, y: float, width: float, high: float, is_own: bool
) -> str:
    """A time step."""
    names = e.names_of(one.row)
    title = f"step {step.time}" + (f"  {names[step.time]}" if step.time < len(names) else "")
    parts = [
        svg.box(x, y, width, high, "card", "plus" if is_own else "ink"),
        svg.text(x + 8, y + 18, title, 12, bold=True),
    ]
    at = y + 34
    values = x + 8 + max(svg.wide(name) for name, *_ in _lines(step)) + 4
    for name, number, colour, bar in _lines(step):
        is_state = name in step.states
        if name == one.gate:
            parts.append(svg.box(x + 4, at - 11, width - 8, svg.LINE, "back", "plus", radius=3))
        parts.append(svg.text(x + 8, at, name, colour=colour, bold=is_state))
        parts.append(svg.text(values, at, number, colour=colour, bold=is_state))
        room = x + width - 8 - values - 44
        if bar is not None and room > 8:
            parts.append(svg.box(values + 44, at - 8, max(room * bar, 1), 8, "soft", radius=2))
        at += svg.LINE
    at += 6
    weight = weight_symbol(e)
    colour = "minus" if step.part < 0 else "plus"
    if step.product is not None:
        local, delta = (short(number, 3) for number in step.product)
        delta = f"({delta})" if step.product[1] < 0 else delta
        parts.append(svg.text(x + 8, at, f"{local} \u00d7 {delta}", colour="plus"))
        at += svg.LINE
    parts.append(svg.text(x + 8, at, f"\u2202L/\u2202{weight}: {short(step.part, 3)}", colour=colour, bold=True))
    return f'<g class="card" data-name="step {step.time}">{"".join(parts)}</g>'


def _passing(before: Step, after: Step, x1: float, x2: float, y: float, high: float) -> str:
    """The arrows between two steps: each state goes right, and its derivative comes back."""
    parts, middle = [], (x1 + x2) / 2
    each = (high - 30) / max(len(after.states), 1)
    for k, name in enumerate(after.states):
        at = y + 22 + k * each
        factor = after.factors.get(name)
        for down, colour, tip, back in ((16, "ink", x2 - 1, 1), (52, "plus", x1 + 1, -1)):
            level = at + down
            parts.append(
                f'<path d="M{x1 + 2:.1f} {level:.1f}H{x2 - 2:.1f}" class="s-{colour}" stroke-width="1.5"/>'
                f'<polygon points="{tip:.1f},{level:.1f} {tip - 7 * back:.1f},{level - 4:.1f}'
                f' {tip - 7 * back:.1f},{level + 4:.1f}" class="f-{colour}"/>'
            )
        parts.append(svg.text(middle, at + 10, name, 11, anchor="middle", bold=True))
        if factor is not None:
            parts.append(svg.text(middle, at + 29, f"\u00d7 {short(factor, 3)}", 10.5, anchor="middle"))
        parts.append(
            svg.text(middle, at + 65, short(before.from_next.get(name, 0.0), 3), 10.5, anchor="middle", colour="plus")
        )
    return f'<g class="passing">{"".join(parts)}</g>'


def _bars(one: Unrolled, first: int, count: int, width: float, left: float, y: float) -> tuple[str, float]:
    """What of the gradient comes from each time step, as bars; and the bottom edge."""
    most, steps = float(np.abs(one.parts).max(initial=0.0)) or 1.0, len(one.times)
    cell = min(width / steps, 40)
    title = "The part of each time step" + ("; those drawn above are underlined" if count < steps else "")
    lines = svg.wrapped(title, width, 12, bold=True)
    parts = [svg.text(left, y + 12 + 16 * k, line, 12, bold=True) for k, line in enumerate(lines)]
    y += 6 + 16 * len(lines)
    middle = y + _BARS / 2
    for k, part in enumerate(one.parts.tolist()):
        long = _BARS / 2 * abs(part) / most
        top = middle - long if part > 0 else middle
        x = left + k * cell
        parts.append(
            svg.box(x + 0.1 * cell, top, 0.8 * cell, max(long, 0.5), "plus" if part > 0 else "minus", radius=0)
        )
        wide = svg.wide(str(one.times[k]), 10) + 4
        if k % max(1, -(-int(wide) // max(int(cell), 1))) == 0:
            parts.append(svg.text(x + cell / 2, y + _BARS + 12, str(one.times[k]), 10, anchor="middle", colour="soft"))
    parts.append(f'<path d="M{left} {middle}h{cell * steps:.1f}" class="s-soft" stroke-width="0.7"/>')
    if count < steps:
        parts.append(svg.box(left + first * cell, y + _BARS + 16, count * cell, 3, "ink", radius=1))
    return f'<g class="bars">{"".join(parts)}</g>', y + _BARS + 24
