"""An explanation as JSON, with the fields that the documentation lists."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chainrule.explain.attention import LEVELS

if TYPE_CHECKING:
    from chainrule.explain.attention import Attended, Attention, Group
    from chainrule.explain.chain import ChainLink
    from chainrule.explain.explanation import Explanation, SampleTerm
    from chainrule.explain.paths import Path
    from chainrule.explain.trace import Link
    from chainrule.tape import Unit

MOST = 20
"""The number of samples and paths that are listed by default."""

_VALUES = ("weight", "about", "step", "value_before", "value_after", "update", "gradient", "training_gradient")
"""Fields that are attributes of the explanation with the same name."""


def fields(e: Explanation, most: int | None = MOST) -> dict[str, Any]:
    """All fields of an explanation, with at most so many samples and paths, and a fifth as many
    uses of a sample and terms of a delta; the others are added up.
    """
    few = None if most is None else max(1, most // 5)
    proof, others, paths = e.proof, e.samples[most:] if most is not None else [], e.paths[:most]
    return {
        **{name: getattr(e, name) for name in _VALUES},
        **({"augmentation": e.augmentation} if e.augmentation else {}),
        "rounding_bound": e.rounding.bound,
        "numerical_gradient": proof.numerical_gradient,
        "where": [asdict(use) for use in e.where],
        "samples": [*(_sample(e, term, few) for term in e.samples[:most]), *(_penalty(*p) for p in e.penalties)],
        "rest": {"count": len(others), "sum": sum(term.product for term in others)},
        **({"steps_back": [asdict(step) for step in steps]} if (steps := e.steps_back()) else {}),
        **({"steps_back_of_positions": of} if steps and (of := e.loss_positions) else {}),
        **({} if e.decision is None else {"threshold": e.threshold, "predicted": e.decision.label}),
        "chain": None if e.chain is None else _link(e, e.chain, few),
        "paths": [_path(e, path) for path in paths],
        "other_paths": {"count": len(e.paths) - len(paths), "sum": sum(path.product for path in e.paths[len(paths) :])},
        "all_paths": e.has_all_paths,
        **({"attention": [_attention(e, layer, most) for layer in e.attention]} if e.attention else {}),
        "optimizer": [asdict(stage) for stage in e.stages],
        "effect": {
            "loss": proof.loss_before,
            "weight": proof.weight_alone,
            "weight_predicted": proof.weight_predicted,
            "step": proof.step,
            "step_predicted": proof.step_predicted,
        },
        "latex": e.latex,
    }


def _sample(e: Explanation, term: SampleTerm, few: int | None) -> dict[str, Any]:
    uses, rest, others = term.strongest(few)
    return {
        "sample": term.row,
        "row": e.row_read(term.row),
        "unit": str(term.unit),
        "weight": term.weight,
        "delta": term.delta,
        "input": term.input,
        "product": term.product,
        "uses": [_use(e, use) for use in (uses if term.count > 1 else ())],
        "rest": {"count": others, "sum": rest},
    }


def _use(e: Explanation, use: Link) -> dict[str, Any]:
    return {
        "unit": str(use.unit),
        **_place(e, use.unit),
        "delta": use.delta,
        "input": use.local,
        "product": use.product,
    }


def _place(e: Explanation, unit: Unit) -> dict[str, str]:
    """Where a unit is by name, if its position has one."""
    place = e.named_place(unit)
    return {"place": place} if place else {}


def _path(e: Explanation, path: Path) -> dict[str, Any]:
    return {
        "units": [str(unit) for unit in path.units],
        "sample": int(e.trace.rows[path.units[0].sample]),
        "local_derivatives": list(path.factors),
        "product": path.product,
    }


def _attention(e: Explanation, layer: Attention, most: int | None) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "product": layer.product,
        "heads": list(layer.heads),
        "samples": [_group(e, part, part.number, *LEVELS) for part in layer.samples.parts],
        "other_samples": {"count": layer.samples.others, "sum": layer.samples.rest},
        "pairs": [{**asdict(pair), **_names(e, pair)} for pair in layer.pairs[:most]],
        "rest": {"count": layer.others + len(layer.pairs) - len(layer.pairs[:most]),
                 "sum": layer.product - sum(pair.product for pair in layer.pairs[:most])},
    }  # fmt: skip


def _names(e: Explanation, pair: Attended) -> dict[str, str]:
    """The names of the two positions, if they have any."""
    names, places = e.names_of(pair.row), {"query_name": pair.query, "key_name": pair.key}
    return {which: names[number] for which, number in places.items() if number < len(names)}


def _group(e: Explanation, group: Group, row: int, level: str, *levels: str) -> dict[str, Any]:
    """A group of what comes through attention, and its parts."""
    names = e.names_of(row) if level in ("position", "key") else []
    inner = {f"{levels[0]}s": [_group(e, part, row, *levels) for part in group.parts],
             "rest": {"count": group.others, "sum": group.rest}} if levels else {"weight": group.weight}  # fmt: skip
    return {
        level: group.number,
        **({"name": names[group.number]} if group.number < len(names) else {}),
        "product": group.product,
        **inner,
    }


def _penalty(name: str, value: float) -> dict[str, Any]:
    """A penalty's term, with the fields of a sample."""
    numbers = {"delta": value, "input": 1.0, "product": value}
    empty = {"uses": [], "rest": {"count": 0, "sum": 0.0}}
    return {"sample": None, "row": None, "unit": name, "weight": None, **numbers, **empty}


def _link(e: Explanation, link: ChainLink, few: int | None) -> dict[str, Any]:
    left = link.terms[few:] if few is not None else ()
    return {
        "unit": str(link.unit),
        **_place(e, link.unit),
        "sample": link.row,
        "delta": link.delta,
        "local_derivative": link.local_derivative,
        "value": link.value,
        "note": link.note or link.unused,
        "terms": [_link(e, term, few) for term in link.terms[:few]],
        "rest": {"count": link.others + len(left), "sum": link.rest + sum(term.product for term in left)},
        "loss": None if link.loss is None else asdict(link.loss),
    }
