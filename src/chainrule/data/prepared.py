"""Arrays that were prepared already, told apart from those that were not."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array


class Prepared(np.ndarray):
    """An array as a network or a loss takes it, such as `data.test.x`.

    Predicting and evaluating do not prepare it once more.

    Slices, chosen rows and copies of it are prepared, too, and so are several that are
    concatenated. What is computed from it is an ordinary array, which is taken for samples as they
    were read; if it is prepared all the same, say so with `array.view(Prepared)`.

    Examples:
        >>> x = np.ones((3, 2)).view(Prepared)
        >>> type(x[[0, 2]]).__name__, type(x * 2).__name__
        ('Prepared', 'ndarray')
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Computed as by an ordinary array."""
        if "out" in options:
            options["out"] = tuple(map(plain, options["out"]))
        return getattr(ufunc, method)(*map(plain, inputs), **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """As for an ordinary array; but prepared arrays are concatenated to a prepared one."""
        made = super().__array_function__(function, types, arguments, options)
        if function is np.concatenate and all(issubclass(kind, Prepared) for kind in types):
            return prepared(made)
        return made


def plain(array: Any) -> Any:
    """A prepared array as an ordinary one, without copying it; anything else as it is."""
    return array.view(np.ndarray) if isinstance(array, Prepared) else array


def prepared(array: Array) -> Prepared:
    """The same numbers, said to be prepared."""
    return array.view(Prepared)
