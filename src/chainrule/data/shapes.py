"""Generated pictures of shapes, whose class is a shape, a colour and a texture together."""

from __future__ import annotations

import numpy as np

from chainrule.arrays import Array
from chainrule.data.source import Source
from chainrule.errors import is_integer, require
from chainrule.generators import generator

SHAPES = ("circle", "square", "triangle")
COLOURS = ("red", "green", "blue")
TEXTURES = ("plain", "striped", "dotted")
SIDE = 32
"""The pixels along a side."""
RADIUS = 7, 11
"""The radius of the circles, in pixels; the other shapes have the same area."""
TURN = 0.3
"""By how much a shape is turned at most, in radians: about 17 degrees."""
PART = 1000
"""The pictures that are drawn at a time."""


def shapes(samples: int = 4000, noise: float = 8.0, seed: int = 0) -> Source:
    """Pictures of 32 x 32 pixels in colour, each of a circle, a square or a triangle that is red,
    green or blue, and plain, striped or dotted: 27 classes, such as "striped red circle".

    Place, size, rotation, shade, and the width and direction of the texture are random, and so is
    the background, which runs from one colour to another. Shapes of the same size have the same
    area. So no single pixel tells the class, nor does the brightness of the picture.

    Args:
        samples: number of pictures, at least 2
        noise: standard deviation of the Gaussian noise added to each number, of 255
        seed: seed of everything random

    Examples:
        >>> source = shapes(samples=10)
        >>> source.features.shape, str(source.features.dtype), str(source.target[0])
        ((10, 32, 32, 3), 'uint8', 'plain red circle')
    """
    require(is_integer(samples) and samples >= 2, f"shapes: {samples!r} samples; at least 2 are needed")
    require(noise >= 0, f"shapes: the noise is {noise}; it can't be negative")
    number, x = np.arange(samples), np.empty((samples, SIDE, SIDE, 3), np.uint8)
    shape, colour, texture = number % 3, number // 3 % 3, number // 9 % 3
    for k in range(0, samples, PART):
        part = slice(k, k + PART)
        x[part] = _drawn(generator(seed, "shapes", k), shape[part], colour[part], texture[part], noise)
    names = [f"{TEXTURES[t]} {COLOURS[c]} {SHAPES[s]}" for s, c, t in zip(shape, colour, texture, strict=True)]
    return Source("shapes", x, np.array(names), "figure", "classification")


def _drawn(random: np.random.Generator, shape: Array, colour: Array, texture: Array, noise: float) -> Array:
    """(samples, SIDE, SIDE, 3) the pictures of these shapes, colours and textures, by number."""
    count = len(shape)

    def drawn(low: float, high: float) -> Array:
        """A random number for each picture, to be used with its pixels."""
        return random.uniform(low, high, (count, 1, 1))

    radius = drawn(*RADIUS)
    row, column = (radius + drawn(0, 1) * (SIDE - 1 - 2 * radius) for _ in range(2))
    y, x = np.arange(SIDE).reshape(-1, 1) - row, np.arange(SIDE) - column
    inside = _inside(shape, *_turned(x, y, drawn(-TURN, TURN)), radius)[..., None]
    bright = _texture(texture, *_turned(x, y, drawn(0, 2 * np.pi)), drawn(4, 5.5))[..., None]
    hue = colour.reshape(-1, 1, 1) / 3 + drawn(-0.06, 0.06)
    figure = _rgb(hue, drawn(0.6, 1), drawn(0.7, 1)) * bright
    one, other = (_rgb(drawn(0, 1), drawn(0, 0.7), drawn(0.2, 0.9)) for _ in range(2))
    along = (0.5 + _turned(x + column - SIDE / 2, y + row - SIDE / 2, drawn(0, 2 * np.pi))[0] / SIDE)[..., None]
    picture = inside * figure + (1 - inside) * (one + (other - one) * along)
    return np.rint(255 * picture + random.normal(0, noise, picture.shape)).clip(0, 255).astype(np.uint8)


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """The coordinates after a rotation."""
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _inside(shape: Array, x: Array, y: Array, radius: Array) -> Array:
    """How much of each pixel is within the shape, whose area is that of a circle of this radius."""
    circle = np.hypot(x, y) - radius
    square = np.maximum(np.abs(x), np.abs(y)) - radius * np.sqrt(np.pi) / 2
    sides = [np.cos(angle) * x + np.sin(angle) * y for angle in 2 * np.pi / 3 * np.arange(3)]
    triangle = np.maximum.reduce(sides) - radius * np.sqrt(np.pi / np.sqrt(27))
    beyond = np.stack([circle, square, triangle])[shape, np.arange(len(shape))]  # its distance from the edge
    return (0.5 - beyond).clip(0, 1)


def _texture(texture: Array, x: Array, y: Array, width: Array) -> Array:
    """The brightness of each pixel: of stripes or dots, one of which is `width` from the next."""
    stripes, across = np.sin(2 * np.pi * x / width), np.sin(2 * np.pi * y / width)
    plain = np.full_like(stripes, 0.7)
    chosen = np.stack([plain, 0.7 + 0.3 * stripes, 0.7 + 0.3 * stripes * across])
    return chosen[texture, np.arange(len(texture))]


def _rgb(hue: Array, saturation: Array, value: Array) -> Array:
    """Colours (..., 3) from hue, saturation and value, each in [0, 1] (Smith, 1978)."""
    k = (np.array([5, 3, 1]) + 6 * hue[..., None]) % 6
    return value[..., None] * (1 - saturation[..., None] * np.minimum(k, 4 - k).clip(0, 1))
