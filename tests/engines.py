"""What tests know of the native engine, without which chainrule trains with NumPy and says so."""

import pytest

from chainrule.engine import WITHOUT_NATIVE, native

NAMES = ["numpy", *(["native"] if native.is_built() else [])]
"""The engines that can be chosen."""

needs_native = pytest.mark.skipif(not native.is_built(), reason="the native engine was not built")


def without_note(said):
    """What a command said, other than that it trains with NumPy."""
    return said.replace(f"{WITHOUT_NATIVE}\n", "")
