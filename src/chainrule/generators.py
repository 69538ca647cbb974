"""Random numbers that depend on their key alone.

Every draw has a key, such as (seed, "weights", "dense_1", "W") or (seed, "order", epoch). It is
hashed into the key of a counter-based generator (Philox 4x64; Salmon et al., 2011), so that no
draw depends on earlier ones: adding a layer, resuming a run or replaying a step changes no other
number.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import is_integer, require

Key = int | str


def seed(value: Any) -> int:
    """A user's seed as an int; SettingError unless it is an integer.

    A key depends on how its parts are written, so that NumPy's integers must not be part of it.
    """
    require(is_integer(value), f"the seed is {value!r}; it is a whole number")
    return int(value)


def hashed(*key: Key) -> int:
    """The generator's 128-bit key, as an integer."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=16).digest(), "little")


def generator(*key: Key) -> np.random.Generator:
    """The random generator of this key.

    Examples:
        >>> float(generator(0, "weights").random()) == float(generator(0, "weights").random())
        True
    """
    return np.random.Generator(np.random.Philox(key=hashed(*key)))


def keep_mask(shape: tuple[int, ...], rate: float, step: int, *key: Key) -> NDArray[np.bool_]:
    """A dropout mask of this shape: True where a unit is kept, False where it is dropped, which
    happens with probability `rate`.

    Each unit takes 32 bits of the generator's raw output, low half first, and is kept if they are
    at least `threshold(rate)`. The step is the second word of the generator's counter; only the
    rest of the key is hashed. Being integer arithmetic, the rule can be reproduced bit for bit by
    another engine, for any unit of any step.
    """
    size = int(np.prod(shape))
    philox = np.random.Philox(key=hashed(*key), counter=np.array([0, step, 0, 0], dtype=np.uint64))
    raw = philox.random_raw((size + 1) // 2).astype("<u8")
    return (raw.view("<u4")[:size] >= np.uint32(threshold(rate))).reshape(shape)


def threshold(rate: float) -> int:
    """The value of 32 random bits below which a unit is dropped."""
    return int(rate * 2**32)


def uniform(count: int, step: int, *key: Key) -> NDArray[np.float64]:
    """So many random numbers in [0, 1) of a step, each from the upper 53 bits of 64; the step is
    part of the counter, as in `keep_mask`.
    """
    philox = np.random.Philox(key=hashed(*key), counter=np.array([0, step, 0, 0], dtype=np.uint64))
    return np.asarray((philox.random_raw(count) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)
