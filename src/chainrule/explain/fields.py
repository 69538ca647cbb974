"""An explanation as JSON: its fields, which stay what they are; the documentation lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.explain.chain import ChainLink
    from chainrule.explain.explanation import Explanation, SampleTerm
    from chainrule.explain.paths import Path


def fields(e: Explanation) -> dict[str, Any]:
    """Everything that an explanation says."""
    proof = e.proof
    return {
        "weight": e.weight,
        "about": e.about,
        "step": e.step,
        "value_before": e.value_before,
        "value_after": e.value_after,
        "update": e.update,
        "gradient": e.gradient,
        "training_gradient": e.training_gradient,
        "rounding_bound": e.rounding.bound,
        "numerical_gradient": proof.numerical_gradient,
        "samples": [_sample(e, term) for term in e.samples]
        + [
            {
                "sample": None,
                "row": None,
                "unit": name,
                "weight": None,
                "delta": added,
                "input": 1.0,
                "product": added,
                "uses": [],
            }
            for name, added in e.penalties
        ],
        "chain": None if e.chain is None else _link(e.chain),
        "paths": [_path(e, path) for path in e.paths],
        "all_paths": e.has_all_paths,
        "optimizer": [
            {"stage": s.stage, "formula": s.formula, "symbols": s.symbols, "input": s.input, "output": s.output}
            for s in e.stages
        ],
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
    return {
        "sample": term.row,
        "row": e.row_read(term.row),
        "unit": str(term.unit),
        "weight": term.weight,
        "delta": term.delta,
        "input": term.input,
        "product": term.product,
        "uses": [
            {"unit": str(use.unit), "delta": use.delta, "input": use.local, "product": use.product} for use in term.uses
        ]
        if len(term.uses) > 1
        else [],
    }


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
        "loss": None if link.loss is None else vars(link.loss),
    }


def _path(e: Explanation, path: Path) -> dict[str, Any]:
    return {
        "units": [str(unit) for unit in path.units],
        "sample": int(e.trace.rows[path.units[0].sample]),
        "local_derivatives": [*path.locals, path.last],
        "product": path.product,
    }
