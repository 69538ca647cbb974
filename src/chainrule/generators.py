"""Random numbers that depend on what they are for, and on nothing else.

Every draw has a key such as (seed, "weights", "dense_1", "W") or (seed, "order", epoch). The key is hashed into the
key of a counter-based generator (Philox 4x64; Salmon et al., 2011), so that no draw depends on which others came
before it: adding a layer, resuming a run or replaying a step changes no other number.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Key = int | str


def _philox(key: tuple[Key, ...]) -> np.random.Philox:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"))


def generator(*key: Key) -> np.random.Generator:
    """A random generator for this key.

    Examples:
        >>> float(generator(0, "weights").random()) == float(generator(0, "weights").random())
        True
    """
    return np.random.Generator(_philox(key))


def keep_mask(shape: tuple[int, ...], rate: float, *key: Key) -> NDArray[np.bool_]:
    """True where a unit is kept, False where it is dropped, which happens with probability `rate`.

    Each unit takes 32 bits of the generator's raw output, low half first, and is kept if they are at least rate *
    2**32: a rule in whole numbers, which another engine can follow to the bit.
    """
    size = int(np.prod(shape))
    raw = _philox(key).random_raw((size + 1) // 2).astype("<u8")
    return (raw.view("<u4")[:size] >= np.uint32(rate * 2**32)).reshape(shape)
