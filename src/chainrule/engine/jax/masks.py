"""Dropout's masks, bit for bit those of `generators.keep_mask`, computed where a step is.

Each unit takes 32 bits of Philox 4x64-10 (Salmon et al., 2011) with NumPy's counter. A 64-bit word
is a pair of 32-bit ones, (low, high), so that the bits are the same where there are no 64-bit
integers: in float32 programs, and on TPUs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from chainrule.arrays import Shape
from chainrule.errors import require

ROUNDS = 10
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
INCREMENTS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
UNITS = 8
"""How many units take their bits from one block of the generator's output, of four words."""


class Word(NamedTuple):
    """64 bits.

    Attributes:
        low, high: the halves, of 32 bits
    """

    low: jax.Array
    high: jax.Array

    def __xor__(self, other: Word) -> Word:
        return Word(self.low ^ other.low, self.high ^ other.high)

    def plus(self, number: int) -> Word:
        """The sum with this number."""
        low = self.low + _half(number)
        return Word(low, self.high + _half(number >> 32) + (low < self.low))

    def times(self, number: int) -> tuple[Word, Word]:
        """The lower and the upper 64 bits of the product with this number."""
        a, b = _half(number), _half(number >> 32)
        low, carried = self.low * a, upper(self.low, number)
        one, other = self.low * b, self.high * a
        middle = carried + one
        overflow = (middle < one).astype(jnp.uint32)
        middle = middle + other
        overflow += middle < other
        left, right = (upper(self.low, number >> 32), upper(self.high, number))
        third = left + right
        fourth = (third < left).astype(jnp.uint32)
        third += overflow
        fourth += third < overflow
        last = self.high * b
        third += last
        fourth += third < last
        return Word(low, middle), Word(third, fourth + upper(self.high, number >> 32))


def upper(x: jax.Array, number: int) -> jax.Array:
    """The upper 32 bits of a product, from those of halves of 16 bits (`lax.mulhi` can't be divided
    among devices).
    """
    low, high, mask = _half(number & 0xFFFF), _half((number & 0xFFFFFFFF) >> 16), jnp.uint32(0xFFFF)
    x_low, x_high = x & mask, x >> 16
    middle = x_high * low + (x_low * low >> 16)
    return x_high * high + (middle >> 16) + (x_low * high + (middle & mask) >> 16)


def _half(number: int) -> jax.Array:
    return jnp.uint32(number & 0xFFFFFFFF)


def philox(counter: jax.Array, step: jax.Array, key: Sequence[Word]) -> jax.Array:
    """(..., 8) the 32-bit words that the generator gives for each counter, (...), low halves first.

    Args:
        counter: the first word of NumPy's counter, which counts from 1
        step: its second word
        key: the two words of its key
    """
    zero = jnp.zeros_like(counter)
    start = (Word(counter, zero), Word(zero + step, zero), Word(zero, zero), Word(zero, zero))

    def one(_: int, at: tuple[tuple[Word, ...], tuple[Word, ...]]) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        (c0, c1, c2, c3), (first, second) = at
        (a_low, a_high), (b_low, b_high) = c0.times(MULTIPLIERS[0]), c2.times(MULTIPLIERS[1])
        after = b_high ^ c1 ^ first, b_low, a_high ^ c3 ^ second, a_low
        return after, (first.plus(INCREMENTS[0]), second.plus(INCREMENTS[1]))

    # A loop, because XLA would compute unrolled rounds again for each of the eight outputs.
    (c0, c1, c2, c3), _ = lax.fori_loop(0, ROUNDS, one, (start, tuple(key)))
    return jnp.stack([half for word in (c0, c1, c2, c3) for half in word], axis=-1)


def keep(words: Sequence[Any], threshold: int, step: Any, shape: Shape) -> jax.Array:
    """A mask of this shape, (samples, ...): True where a unit is kept.

    The bits of each sample are computed on their own, from all blocks that it has a part in, so
    that of several devices, which have some samples each, none computes more than its own part.

    Args:
        words: the lower and the upper 64 bits of the node's key: numbers, or arrays in a loop
        threshold: the bits below which a unit is dropped, `generators.threshold(rate)`
        step: the number of the step
        shape: the mask's shape
    """
    samples, units = shape[0], math.prod(shape[1:])
    require(samples * units < 2**32, f"a dropout of {samples} samples of {units:,} units: it must be below 2^32 units")
    common = math.gcd(units, UNITS)  # where a sample begins in its first block is a multiple of it
    blocks = -(-(units + UNITS - common) // UNITS)
    first = lax.broadcasted_iota(jnp.uint32, (samples, blocks), 0) * jnp.uint32(units)
    counter = first // UNITS + lax.broadcasted_iota(jnp.uint32, (samples, blocks), 1) + jnp.uint32(1)
    bits = philox(counter, jnp.asarray(step).astype(jnp.uint32), [_apart(word) for word in words])
    bits = bits.reshape(samples, blocks * UNITS)
    begins = (lax.iota(jnp.uint32, samples) * jnp.uint32(units) % UNITS)[:, None]
    shift = UNITS // 2
    while shift >= common:
        bits = jnp.where(begins & jnp.uint32(shift) > 0, jnp.roll(bits, -shift, axis=1), bits)
        shift //= 2
    return bits[:, :units].reshape(shape) >= jnp.uint32(threshold)


def _apart(word: Any) -> Word:
    """The halves of a 64-bit number."""
    if isinstance(word, int):
        return Word(_half(word), _half(word >> 32))
    return Word(word.astype(jnp.uint32), (word >> 32).astype(jnp.uint32))
