"""Import JAX and train a small network for one step."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

random = np.random.default_rng(0)
x = random.normal(size=(32, 30)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int32)
widths = (30, 64, 32, 2)
params = [
    (jnp.asarray(random.normal(size=(a, b)) * 0.1, jnp.float32), jnp.zeros(b)) for a, b in itertools.pairwise(widths)
]
optimizer = optax.adam(0.001)


def loss(params):
    """The loss of the batch."""
    a = x
    for w, b in params[:-1]:
        a = jax.nn.relu(a @ w + b)
    return optax.softmax_cross_entropy_with_integer_labels(a @ params[-1][0] + params[-1][1], y).mean()


@jax.jit
def step(params, state):
    """One training step."""
    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


params, state = step(params, optimizer.init(params))
np.asarray(params[0][0])
