"""A marker for arrays that are already prepared."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array


class Prepared(np.ndarray):
    """An array that is ready for a network or a loss, such as `data.test.x`.

    `predict` and `evaluate` do not prepare it again.

    Indexing, slicing, copying and concatenating preserve the type. The result of a computation is
    an ordinary array, which counts as raw; mark it as prepared with `array.view(Prepared)`.

    Examples:
        >>> x = np.ones((3, 2)).view(Prepared)
        >>> type(x[[0, 2]]).__name__, type(x * 2).__name__
        ('Prepared', 'ndarray')
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute on ordinary arrays, so that the result is one."""
        if "out" in options:
            options["out"] = tuple(map(plain, options["out"]))
        return getattr(ufunc, method)(*map(plain, inputs), **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """Like ndarray, except that concatenating only prepared arrays gives a prepared one."""
        result = super().__array_function__(function, types, arguments, options)
        if function is np.concatenate and all(issubclass(kind, Prepared) for kind in types):
            return prepared(result)
        return result


def plain(array: Any) -> Any:
    """A view of a prepared array as an ordinary one; anything else unchanged."""
    return array.view(np.ndarray) if isinstance(array, Prepared) else array


def prepared(array: Array) -> Prepared:
    """A view of the array, marked as prepared."""
    return array.view(Prepared)
