"""Layers for sequences, each beside an independent implementation in JAX."""

import jax
import jax.numpy as jnp
import numpy as np

from by_jax import derivatives
from chainrule.backprop import backward_pass, forward_pass
from chainrule.layers import (
    Context,
    Dense,
    DotProductAttention,
    Embedding,
    FeedForward,
    Input,
    LearnedPositions,
    MaskedSoftmax,
    MultiHeadAttention,
    Rotary,
    SinusoidalPositions,
    Tanh,
    TiedDense,
    Transformer,
    TransformerBlock,
)
from chainrule.network import Network, pack


def visible(queries, keys, causal, lengths, samples):
    """(samples, 1, queries, keys) whether a query sees a key."""
    seen = jnp.ones((queries, keys), bool)
    if causal:
        seen = jnp.arange(keys)[None, :] <= jnp.arange(queries)[:, None] + (keys - queries)
    seen = jnp.broadcast_to(seen, (samples, 1, queries, keys))
    if lengths is not None:
        seen &= jnp.arange(keys) < jnp.reshape(lengths, (-1, 1, 1, 1))
    return seen


def masked_softmax(z, causal=False, lengths=None):
    """jax.nn.softmax over what is visible; 0 where nothing is."""
    samples, *_, queries, keys = z.shape
    seen = visible(queries, keys, causal, lengths, samples)
    seen = jnp.broadcast_to(seen if z.ndim == 4 else seen[:, 0], z.shape)
    return jax.nn.softmax(jnp.where(seen, z, -1e30), axis=-1) * seen


def rotary(x, base=10_000.0):
    """The pairs as complex numbers, times powers of e^i."""
    time, features = x.shape[-2:]
    pairs = x.reshape(*x.shape[:-1], features // 2, 2)
    angle = jnp.outer(jnp.arange(time), base ** (-jnp.arange(0, features, 2) / features))
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * jnp.exp(1j * angle)
    return jnp.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def waves(time, features, base=10_000.0):
    """Vaswani et al. (2017), section 3.5, entry by entry."""
    wave = np.zeros((time, features))
    for t in range(time):
        for j in range(features):
            angle = t / base ** ((j - j % 2) / features)
            wave[t, j] = np.sin(angle) if j % 2 == 0 else np.cos(angle)
    return wave


def dense(p, name, x):
    return x @ p[f"{name}.W"] + p.get(f"{name}.b", 0)


def norm(p, name, x):
    if f"{name}.offset" not in p:
        return p[f"{name}.scale"] * x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return p[f"{name}.scale"] * unit + p[f"{name}.offset"]


def dropped(p, name, x):
    """x times the mask that was drawn for the layer of this name, if p has one."""
    return x * p.get(f"{name}.mask", 1.0)


def dot_product(q, k, v, causal=False, lengths=None, mask=1.0):
    """Keys and values are repeated for the heads that share them."""
    times = q.shape[1] // k.shape[1]
    k, v = jnp.repeat(k, times, axis=1), jnp.repeat(v, times, axis=1)
    scores = jnp.einsum("nhid,nhjd->nhij", q, k) / jnp.sqrt(q.shape[-1])
    return jnp.einsum("nhij,nhjf->nhif", masked_softmax(scores, causal, lengths) * mask, v)


def attention(p, name, layer, x, *others):
    """Multi-head attention from the layer's settings."""
    others = list(others)
    lengths = others.pop() if others and others[-1].ndim == 1 else None
    source = others[0] if others else x
    groups = layer.kv_heads or layer.heads
    heads = []
    for part, count, of in (("query", layer.heads, x), ("key", groups, source), ("value", groups, source)):
        y = dense(p, f"{name}.{part}", of)
        heads.append(jnp.moveaxis(y.reshape(*y.shape[:2], count, -1), 2, 1))
    q, k, v = heads
    if layer.rotary:
        q, k = rotary(q), rotary(k)
    mask = p.get(f"{name}.heads.dropout.mask", 1.0)
    y = jnp.moveaxis(dot_product(q, k, v, layer.causal, lengths, mask), 1, 2)
    return dense(p, f"{name}.output", y.reshape(*x.shape[:2], -1))


def feed_forward(p, name, layer, x):
    h = dense(p, f"{name}.hidden", x)
    if layer.activation == "swiglu":
        h = jax.nn.silu(dense(p, f"{name}.gate", x)) * h
    else:
        h = {"gelu": lambda z: jax.nn.gelu(z, approximate=False), "relu": jax.nn.relu}[layer.activation](h)
    return dense(p, f"{name}.output", h)


def block(p, name, layer, x, *lengths):
    attended = attention(p, f"{name}.attention", layer, norm(p, f"{name}.attention_norm", x), *lengths)
    x = x + dropped(p, f"{name}.dropout_1", attended)
    fed = feed_forward(p, f"{name}.feed_forward", layer, norm(p, f"{name}.feed_forward_norm", x))
    return x + dropped(p, f"{name}.dropout_2", fed)


def transformer(p, name, layer, x, *lengths):
    if f"{name}.input.W" in p:
        x = dense(p, f"{name}.input", x)
    if layer.positions == "learned":
        x = x + p[f"{name}.positions.W"][: x.shape[1]]
    elif layer.positions == "sinusoidal":
        x = x + waves(*x.shape[1:])
    x = dropped(p, f"{name}.dropout_1", x)
    for k in range(1, layer.blocks + 1):
        x = block(p, f"{name}.block_{k}", layer.block(k), x, *lengths)
    return norm(p, f"{name}.norm", x)


def tied_embedding(tokens):
    embedding = Embedding(5, 3, "normal 0 1")
    return TiedDense(embedding)(Tanh()(embedding(tokens)))


def tied_autoencoder(x):
    encoder = Dense(2, activation="tanh")
    return TiedDense(encoder)(encoder(x))


def _oracle(layer):
    """The same as this layer in JAX: a function of parameters by name, and inputs."""
    lengths = {
        MaskedSoftmax: lambda p, z, *n: masked_softmax(z, layer.causal, *n),
        DotProductAttention: lambda p, q, k, v, *n: dot_product(q, k, v, layer.causal, *n),
        MultiHeadAttention: lambda p, *xs: attention(p, "attention_1", layer, *xs),
        FeedForward: lambda p, x: feed_forward(p, "feed_forward_1", layer, x),
        TransformerBlock: lambda p, *xs: block(p, "transformer_block_1", layer, *xs),
        Transformer: lambda p, *xs: transformer(p, "transformer_1", layer, *xs),
        Rotary: lambda p, x: rotary(x, layer.base),
        SinusoidalPositions: lambda p, x: x + waves(*x.shape[1:], layer.base),
        LearnedPositions: lambda p, x: x + p["learned_positions_1.W"][: x.shape[1]],
    }
    return lengths[type(layer)]


HEADS = [(4, 3, 2), (2, 5, 2), (2, 5, 3)]
"""Queries of four heads, and keys and values of two."""

LAYERS = {
    "masked softmax": (MaskedSoftmax(), [(3, 4)]),
    "masked softmax, causal": (MaskedSoftmax(causal=True), [(2, 4, 4)]),
    "masked softmax with lengths": (MaskedSoftmax(), [(2, 3, 4), ()]),
    "masked softmax, causal with lengths": (MaskedSoftmax(True), [(2, 3, 5), ()]),
    "dot products of grouped heads": (DotProductAttention(), HEADS),
    "dot products of grouped heads, masked": (DotProductAttention(causal=True), [*HEADS, ()]),
    "attention": (MultiHeadAttention(2), [(4, 6)]),
    "attention, causal": (MultiHeadAttention(3, causal=True), [(4, 6)]),
    "attention with lengths": (MultiHeadAttention(2), [(4, 4), ()]),
    "attention, grouped": (MultiHeadAttention(4, 8, kv_heads=2, causal=True, bias=False), [(3, 5), ()]),
    "attention to another sequence": (MultiHeadAttention(2), [(3, 4), (5, 3)]),
    "attention to another sequence with lengths": (MultiHeadAttention(2, kv_heads=1), [(3, 4), (5, 3), ()]),
    "attention, rotary": (MultiHeadAttention(2, rotary=True, causal=True), [(4, 8)]),
    "feed-forward": (FeedForward(5), [(3, 4)]),
    "feed-forward swiglu": (FeedForward(5, "swiglu", bias=False), [(3, 4)]),
    "block": (TransformerBlock(2, causal=True), [(3, 4)]),
    "block with everything else": (
        TransformerBlock(4, 5, "swiglu", "rms_norm", kv_heads=2, rotary=True, bias=False), [(3, 8), ()]),
    "transformer": (Transformer(2, 4, heads=2, causal=True), [(3, 5)]),
    "transformer, sinusoidal": (Transformer(1, heads=1, positions="sinusoidal", activation="relu"), [(3, 4), ()]),
    "transformer, rotary": (Transformer(1, heads=2, positions="rotary"), [(3, 4)]),
    "transformer, no positions": (Transformer(1, heads=2, positions="none"), [(3, 4)]),
    "rotary": (Rotary(), [(2, 3, 4)]),
    "rotary of another base": (Rotary(10.0), [(5, 6)]),
    "sinusoidal positions": (SinusoidalPositions(100.0), [(5, 3)]),
    "learned positions": (LearnedPositions(), [(4, 3)]),
    "learned positions, more than needed": (LearnedPositions(6), [(4, 3)]),
}  # fmt: skip
"""A layer, and the shapes of its inputs, of one sample; () for lengths."""

COVERED = {TiedDense, *(type(layer) for layer, _ in LAYERS.values())}


def cases():
    """By name, a function of symbols, the shapes of its inputs, and the same function in JAX."""
    every = {name: (layer, shapes, _oracle(layer)) for name, (layer, shapes) in LAYERS.items()}
    every["tied to an embedding"] = (
        tied_embedding, [(4,)],
        lambda p, x: jnp.tanh(p["embedding_1.W"][x.astype(int)]) @ p["embedding_1.W"].T,
    )  # fmt: skip
    every["tied to a dense layer"] = (
        tied_autoencoder, [(4,)], lambda p, x: jnp.tanh(dense(p, "dense_1", x)) @ p["dense_1.W"].T
    )  # fmt: skip
    return every


CASES = cases()


class Run:
    """A function of symbols run on drawn inputs, forward and, from a drawn derivative, backward."""

    def __init__(self, make, shapes, oracle, seed=0, dtype="float64", samples=3):
        random = np.random.default_rng(seed)
        inputs = [Input(shape) for shape in shapes]
        self.network = Network(inputs=inputs, outputs=make(*inputs), dtype=dtype)
        noise = 0.1 * random.normal(size=self.network.parameters.size)
        self.parameters = (self.network.draw(seed) + noise).astype(dtype)
        self.is_whole = [shape == () or make is tied_embedding for shape in shapes]
        keys = max(shape[-2] for shape in shapes if len(shape) > 1) if () in shapes else 5
        self.xs = [
            random.integers(0, keys + (shape == ()), size=(samples, *shape)).astype(dtype)
            if whole
            else random.normal(size=(samples, *shape)).astype(dtype)
            for shape, whole in zip(shapes, self.is_whole, strict=True)
        ]
        self.oracle = oracle
        self.tape = self.forward(self.parameters, self.xs)
        self.dy = random.normal(size=self.tape.output.shape).astype(dtype)
        self.gradient, dx = backward_pass(self.network, self.tape, self.dy, wants_input=True)
        self.dxs = self.split(dx)

    def forward(self, parameters, xs):
        return forward_pass(self.network, parameters, pack(xs) if len(xs) > 1 else xs[0], context=Context(True))

    def split(self, packed):
        """An array of samples, taken apart into the inputs."""
        flat = packed.reshape(len(packed), -1)
        ends = np.cumsum([int(np.prod(x.shape[1:])) for x in self.xs])
        return [part.reshape(x.shape) for part, x in zip(np.split(flat, ends[:-1], axis=1), self.xs, strict=True)]

    def by_jax(self):
        """The output, the gradient by name, and the derivative of each input, in float64."""
        p = {name: jnp.asarray(a, float) for name, a in self.network.parameters.views(self.parameters)}
        xs = [jnp.asarray(x, float) for x in self.xs]

        return derivatives(lambda p, xs: self.oracle(p, *xs), self.dy, p, xs)
