"""What a network's outputs say of a sample, as numbers that are explained: quantities in the
target's own unit, quantiles and deviations, and probabilities of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import SettingError, unknown
from chainrule.losses import Loss

PROBABILITY, QUANTITY, SCORE = "probability", "quantity", "score"


@dataclass(frozen=True)
class Output:
    """A number that is predicted.

    Attributes:
        name: what it is, such as "price", "price: quantile 0.9" or "probability of setosa"
        kind: "probability", "quantity" (in the target's own unit), or "score", which an output of
            the network is without being either
        about: "point", "quantile", "deviation", "probability" or "score"
        column: which of the target's columns, classes or outputs
        level: of a quantile
    """

    name: str
    kind: str
    about: str
    column: int
    level: float = 0.0


@dataclass(frozen=True)
class Outputs:
    """What is predicted for a sample, as functions of the network's outputs.

    Attributes:
        target: what is predicted
        loss: what turns the network's outputs into it
        known: each of the numbers
        width: the number of the network's outputs, of each position
        position: at which position, of a network that predicts at each
    """

    target: Target
    loss: Loss
    known: tuple[Output, ...]
    width: int
    position: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [output.name for output in self.known]

    def values(self, raw: Array) -> Array:
        """(samples, numbers) from the network's outputs, (samples, positions..., outputs)."""
        rows = self._rows(raw)
        whole = {about: self._whole(rows, about) for about in {output.about for output in self.known}}
        levels = self._levels
        columns = []
        for output in self.known:
            values = whole[output.about]
            columns.append(
                values[:, levels.index(output.level), output.column]
                if output.about == "quantile"
                else values[:, output.column]
            )
        return np.stack(columns, axis=1)

    def through(self, raw: Array, number: int) -> Array:
        """The derivatives of one of the numbers with respect to the network's outputs, in their
        shape.
        """
        output, rows = self.known[number], self._rows(raw)
        slopes = np.zeros_like(self._whole(rows, output.about))
        if output.about == "quantile":
            slopes[:, self._levels.index(output.level), output.column] = 1.0
        else:
            slopes[:, output.column] = 1.0
        slopes = slopes * self._unit(output.about)
        if output.about == "point":
            through = self.loss.through_point(rows, slopes)
        elif output.about == "quantile":
            through = self.loss.through_quantiles(rows, self._levels, slopes)
        elif output.about == "deviation":
            through = self.loss.through_deviation(rows, slopes)
        else:
            through = self.loss.through_probabilities(rows, slopes) if output.about == "probability" else slopes
        if not self.position:
            return through
        every = np.zeros_like(raw)
        self._rows(every)[...] = through
        return every

    def only(self, numbers: Sequence[int]) -> Outputs:
        """Some of them."""
        return replace(self, known=tuple(self.known[k] for k in numbers))

    @property
    def last_step(self) -> str:
        """What is between the network's outputs and the first number, as the last factor of its
        derivatives: "softmax", for example; empty if the output is the number itself.
        """
        first = self.known[0]
        if first.kind == SCORE:
            return ""
        if first.kind == PROBABILITY:
            is_alone = self.width == 1 or self.target.task == "multilabel"
            return "sigmoid" if is_alone else self.loss.probability_symbol.removesuffix("(z)")
        if first.about == "point" and self.loss.first_of_point(len(self.target.names)) is not None:
            return "standard deviation of the target" * (self.target.deviation[first.column] != 1)
        return "from the network's outputs"

    def unit_name(self, index: int) -> str:
        """Which class an output of the network is the score of; empty if it is not one of a class
        each.
        """
        classes = self.target.classes or self.target.columns
        is_one_each = self.target.task != "regression" and self.width == len(classes) > 1
        return str(classes[index]) if is_one_each else ""

    def find(self, name: str) -> int:
        """The number of the one with this name, or of the class or column of this name; raises
        SettingError for an unknown one.
        """
        own = [k for k, output in enumerate(self.known) if name in (output.name, output.name.split(" of ", 1)[-1])]
        if len(own) != 1:
            raise unknown("output", name, self.names)
        return own[0]

    @property
    def _levels(self) -> list[float]:
        return sorted({output.level for output in self.known if output.about == "quantile"})

    def _rows(self, raw: Array) -> Array:
        for k in self.position:
            raw = raw[:, k]
        return raw

    def _unit(self, about: str) -> Array:
        return np.array(self.target.deviation) if about in ("point", "quantile", "deviation") else np.ones(1)

    def _whole(self, rows: Array, about: str) -> Array:
        """What the loss makes of rows of outputs, in the target's own unit."""
        if about == "score":
            return rows
        if about == "probability":
            found = self.loss.probabilities(rows)
        elif about == "point":
            found = self.loss.point(rows)
        else:
            found = self.loss.quantiles(rows, self._levels) if about == "quantile" else self.loss.deviation(rows)
        assert found is not None
        scaled = found * self._unit(about)
        return scaled + np.array(self.target.mean) if about in ("point", "quantile") else scaled


def outputs_of(target: Target, loss: Loss, width: int, position: tuple[int, ...] = ()) -> Outputs:
    """Everything that is predicted of a target.

    Args:
        target: what is predicted
        loss: what the network was trained with
        width: the number of the network's outputs, of each position
        position: which position, of a network that predicts at each
    """
    row = np.zeros((1, width))
    if target.task == "regression":
        names, levels = target.names, tuple(getattr(loss, "levels", ()))
        known = [Output(name, QUANTITY, "point", k) for k, name in enumerate(names)]
        if len(levels) > 1:  # a single quantile is the point prediction
            known += [
                Output(f"{name}: quantile {level:g}", QUANTITY, "quantile", k, level)
                for level in levels
                for k, name in enumerate(names)
            ]
        if loss.deviation(row) is not None:
            known += [Output(f"{name}: deviation", QUANTITY, "deviation", k) for k, name in enumerate(names)]
        return Outputs(target, loss, tuple(known), width, position)
    of = [*map(str, target.classes or target.columns)]
    if loss.probabilities(row) is not None:
        known = [Output(f"probability of {name}", PROBABILITY, "probability", k) for k, name in enumerate(of)]
    else:
        of = of[-width:] if width < len(of) else of
        known = [Output(f"score of {name}", SCORE, "score", k) for k, name in enumerate(of)]
    if not known:
        raise SettingError("the network predicts nothing that has a name")
    return Outputs(target, loss, tuple(known), width, position)
