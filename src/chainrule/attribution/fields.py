"""Why a prediction is as it is, as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.attribution.changes import Change, Changes
from chainrule.attribution.cuts import Cut
from chainrule.attribution.reasons import Why
from chainrule.attribution.routes import Routes

MOST = 20
"""How many units of a layer, and paths, are listed, unless more are asked for."""


def as_json(w: Why, most: int = MOST) -> dict[str, Any]:
    """Everything, as plain values, with so many units of each layer and paths."""
    about = {"about": w.sample.about} if w.sample.about else {}
    return {
        "data": w.sample.name,
        "row": w.sample.row,
        **about,
        "prediction": w.predicted,
        "target": w.sample.target or None,
        "baseline": w.baseline.name,
        "shape": list(w.sample.x.shape),
        "outputs": [_output(w, k) for k in range(len(w.outputs.known))],
        "points": w.integral.points,
        "float32_rounding": w.rounding,
        "paths": [_paths(w, one, most) for one in w.paths],
        "changes": [_changes(one) for one in w.changes],
    }


def _output(w: Why, k: int) -> dict[str, Any]:
    """An output, with its derivatives; the first ones with their attributions."""
    found: dict[str, Any] = {"name": w.outputs.names[k], "value": float(w.values[k])}
    if k >= w.explained:
        return {**found, "derivatives": w.slopes[k].tolist()}
    integral = w.integral
    return {
        **found,
        "baseline": float(integral.start[k]),
        "difference": float(integral.end[k] - integral.start[k]),
        "sum": float(integral.attributions[k].sum()),
        "completeness_error": float(integral.error[k]),
        "tolerance": float(integral.tolerance[k]),
        "parts": _parts(w, k),
        "derivatives": w.slopes[k].tolist(),
        "attributions": integral.attributions[k].tolist(),
    }


def _parts(w: Why, k: int) -> list[dict[str, Any]]:
    """What each part adds to an output, in the order of the parts."""
    rows = []
    for part, own, before in zip(w.sample.parts, w.of_parts(k), w.baseline.values, strict=True):
        row: dict[str, Any] = {"name": part.name, "kind": part.kind, "value": part.value, "baseline": before}
        row |= {"attribution": float(own)}
        slope = w.slope_of(part, k)
        if slope is not None:
            row["derivative"] = slope
        if part.labels and len(part.entries) > 1:
            flat = w.integral.attributions[k].ravel()[part.entries]
            row["inputs"] = [
                {"name": name, "attribution": float(a)} for name, a in zip(part.labels, flat, strict=True) if a
            ]
        rows.append(row)
    return rows


def _paths(w: Why, one: Routes, most: int) -> dict[str, Any]:
    """How the derivative with respect to an input comes about: what comes through the units of each
    layer that all paths pass through, and the paths, by the network's own units.
    """
    return {
        "input": entry_name(w, one.entry),
        **({"through": one.of} if one.of else {}),
        "output": w.outputs.names[0],
        "derivative": one.derivative,
        "unit": 1.0 if one.of else float(w.units.ravel()[one.entry]),
        "layers": [_cut(cut, most) for cut in one.cuts],
        "count": len(one.paths) if one.is_complete else None,
        "last_factor": w.outputs.last_step or None,
        "paths": [
            {"units": [str(unit) for unit in path.units], "factors": list(path.factors), "product": path.product}
            for path in one.paths[:most]
        ],
        "rest": one.rest(most),
    }


def _cut(cut: Cut, most: int) -> dict[str, Any]:
    each = zip(cut.units[:most], cut.from_input, cut.to_output, cut.products, strict=False)
    return {
        "layer": cut.node,
        "count": len(cut.units),
        "units": [
            {"unit": str(unit), "from_input": float(a), "to_output": float(b), "product": float(c)}
            for unit, a, b, c in each
        ],
        "rest": float(cut.products[most:].sum()),
    }


def entry_name(w: Why, entry: int) -> str:
    """What an entry of the sample is called."""
    for part in w.sample.parts:
        at = np.flatnonzero(part.entries == entry)
        if len(at):
            return part.labels[int(at[0])] if len(part.labels) == len(part.entries) > 1 else part.name
    return f"x[{entry}]"


def _changes(found: Changes) -> dict[str, Any]:
    return {
        "wanted": found.wanted,
        "along_gradient": None if found.along is None else _change(found.along),
        "alone": [_change(one) for one in found.alone],
        "token": None if found.tokens is None else _change(found.tokens),
        "searched": list(found.searched),
        "measure": found.measure,
    }


def _change(one: Change) -> dict[str, Any]:
    moved: list[dict[str, Any]] = [
        {
            "name": m.name,
            "before": m.before,
            "after": m.after,
            "by": m.by,
            "deviations": m.deviations,
            "range": None if m.range is None else list(m.range),
            "within_range": m.is_inside,
        }
        for m in one.moved
    ]
    return {
        "before": one.before, "after": one.after, "distance": one.distance, "verified": one.verified,
        "within_range": one.is_inside, "moved": moved,
    }  # fmt: skip
