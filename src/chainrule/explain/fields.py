"""An explanation as JSON, with the fields that the documentation lists."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.explain.chain import ChainLink
    from chainrule.explain.explanation import Explanation, SampleTerm

_VALUES = ("weight", "about", "step", "value_before", "value_after", "update", "gradient", "training_gradient")
"""Fields that are attributes of the explanation with the same name."""


def fields(e: Explanation) -> dict[str, Any]:
    """All fields of an explanation."""
    proof = e.proof
    return {
        **{name: getattr(e, name) for name in _VALUES},
        **({"augmentation": e.augmentation} if e.augmentation else {}),
        "rounding_bound": e.rounding.bound,
        "numerical_gradient": proof.numerical_gradient,
        "samples": [*(_sample(e, term) for term in e.samples), *(_penalty(*penalty) for penalty in e.penalties)],
        "chain": None if e.chain is None else _link(e.chain),
        "paths": [
            {
                "units": [str(unit) for unit in path.units],
                "sample": int(e.trace.rows[path.units[0].sample]),
                "local_derivatives": list(path.factors),
                "product": path.product,
            }
            for path in e.paths
        ],
        "all_paths": e.has_all_paths,
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


def _sample(e: Explanation, term: SampleTerm) -> dict[str, Any]:
    uses = term.uses if len(term.uses) > 1 else ()
    return {
        "sample": term.row,
        "row": e.row_read(term.row),
        "unit": str(term.unit),
        "weight": term.weight,
        "delta": term.delta,
        "input": term.input,
        "product": term.product,
        "uses": [{"unit": str(u.unit), "delta": u.delta, "input": u.local, "product": u.product} for u in uses],
    }


def _penalty(name: str, value: float) -> dict[str, Any]:
    """A penalty's term, with the fields of a sample."""
    numbers = {"delta": value, "input": 1.0, "product": value}
    return {"sample": None, "row": None, "unit": name, "weight": None, **numbers, "uses": []}


def _link(link: ChainLink) -> dict[str, Any]:
    return {
        "unit": str(link.unit),
        "sample": link.row,
        "delta": link.delta,
        "local_derivative": link.local_derivative,
        "value": link.value,
        "note": link.note,
        "terms": [_link(term) for term in link.terms],
        "rest": {"count": link.others, "sum": link.rest},
        "loss": None if link.loss is None else asdict(link.loss),
    }
