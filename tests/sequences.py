"""Random networks of scans, beside the same functions in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from by_jax import derivatives
from chainrule.backprop import differentiate
from chainrule.layers import GRU, LSTM, Bidirectional, Dense, Input, Scan, SimpleRNN
from chainrule.losses import HalfSquares
from chainrule.network import Network, pack

CELLS = {
    "simple_rnn": lambda units: SimpleRNN(units),
    "simple_rnn relu": lambda units: SimpleRNN(units, activation="relu"),
    "lstm": lambda units: LSTM(units),
    "gru": lambda units: GRU(units),
}


def step(kind, p, name, x, state, mask=1.0):
    """A step of a cell on x @ W + b, by the formulas of its source; `mask` is that of the recurrent
    dropout.
    """
    h = state[0] * mask if kind.startswith("simple_rnn") else state[0]
    u = h @ p[f"{name}.state.U"] + p.get(f"{name}.state.b", 0.0)
    if kind == "lstm":
        i, f, g, o = jnp.split(x + u, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g) * mask
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
    if kind == "gru":
        (x_r, x_z, x_n), (u_r, u_z, u_n) = jnp.split(x, 3, axis=-1), jnp.split(u, 3, axis=-1)
        r, z = jax.nn.sigmoid(x_r + u_r), jax.nn.sigmoid(x_z + u_z)
        return ((1 - z) * jnp.tanh(x_n + r * u_n) * mask + z * state[0],)
    return ((jnp.tanh if kind == "simple_rnn" else jax.nn.relu)(x + u),)


def scan(kind, p, name, x, lengths=None, every=False, backwards=False):
    """A scan with the parameters of the layer of this name."""
    units = p[f"{name}.state.U"].shape[0]
    state = (jnp.zeros((len(x), units)),) * (2 if kind == "lstm" else 1)
    sums = (x @ p[f"{name}.input.W"] + p[f"{name}.input.b"]).swapaxes(0, 1)
    times = jnp.arange(x.shape[1])
    masks = p.get(f"{name}.masks", jnp.ones((x.shape[1], len(x), units)))

    def one(state, at):
        t, z, mask = at
        after = step(kind, p, name, z, state, mask)
        if lengths is not None:
            after = tuple(jnp.where((t < lengths)[:, None], new, old) for new, old in zip(after, state, strict=True))
        return after, after[0]

    last, outputs = jax.lax.scan(one, state, (times, sums, masks), reverse=backwards)
    return outputs.swapaxes(0, 1) if every else last[0]


@st.composite
def networks(draw):
    """A random network of scans on (time, features), and the same function of parameters by name in
    JAX, with lengths or without.
    """
    steps, features = draw(st.sampled_from([1, 4])), draw(st.integers(1, 2))  # few shapes, so that JAX compiles little
    x, lengths = Input((steps, features)), Input(1)
    with_lengths, count = draw(st.booleans()), draw(st.integers(1, 3))
    given = (lengths.reshape(),) if with_lengths else ()
    y, f = x, lambda p, x, n: x
    for k in range(count):
        kind, units = draw(st.sampled_from([*CELLS])), draw(st.integers(2, 3))
        every, back = k < count - 1 or draw(st.booleans()), draw(st.booleans())
        layer, name = Scan(CELLS[kind](units), every, back), f"scan{k}"
        if draw(st.booleans()):
            y = Bidirectional(layer, name=name)(y, *given)

            def f(p, x, n, f=f, kind=kind, name=name, every=every, back=back):
                ends = (("forward", back), ("backward", not back))
                parts = [scan(kind, p, f"{name}.{end}", f(p, x, n), n, every, b) for end, b in ends]
                return jnp.concatenate(parts, axis=-1)

        else:
            object.__setattr__(layer, "name", name)
            y = layer(y, *given)
            f = lambda p, x, n, f=f, a=(kind,), name=name, b=(every, back): scan(  # noqa: E731
                *a, p, name, f(p, x, n), n, *b
            )
    last = Dense(2, name="out")
    inputs = [x, lengths] if with_lengths else [x]
    network = Network(inputs=inputs, outputs=last(y), dtype="float64")

    def function(p, x):
        x, n = (x[:, :-1], x[:, -1]) if with_lengths else (x, None)
        return f(p, x.reshape(-1, steps, features), n) @ p["out.W"] + p["out.b"]

    seed = draw(st.integers(0, 999))
    random = np.random.default_rng(seed)
    samples = random.normal(size=(3, steps, features))
    if with_lengths:
        samples = pack((samples, random.integers(0, steps + 1, size=(3, 1))))
    parameters = network.draw(seed) + 0.3 * random.normal(size=network.parameters.size)
    return network, parameters, samples, random.normal(size=(3, *network.output_shape)), function


def check_gradients(drawn):
    """Compare the output, the gradient and the derivative of the input with JAX's, within 1e-10."""
    network, parameters, x, y, function = drawn
    result = differentiate(network, HalfSquares(), parameters, x, y, wants_input=True)
    rows = y.size // y.shape[-1]  # a loss is the mean over positions
    dy = (result.tape.output - y) / rows
    output, gradients, dx = derivatives(function, dy, dict(network.parameters.views(parameters)), x)
    gradient = np.concatenate([np.asarray(gradients[entry.name]).ravel() for entry in network.parameters.entries])
    scale = max(1.0, float(np.abs(gradient).max()))
    np.testing.assert_allclose(result.tape.output, output, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(result.input, dx, rtol=1e-10, atol=1e-10 * scale)
