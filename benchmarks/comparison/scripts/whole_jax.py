"""Train a classifier of digits with JAX as `chainrule train` does: whole_jax.py DATA"""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from digits import split

EPOCHS = 60

x, test_x, y, test_y = split(sys.argv[1])
x, y = jnp.asarray(x), jnp.asarray(y)
random = np.random.default_rng(0)
params = [
    (jnp.asarray(random.normal(size=(a, b)) * (2 / a) ** 0.5, jnp.float32), jnp.zeros(b))
    for a, b in itertools.pairwise((x.shape[1], 64, 64, 10))
]
steps = len(x) // 32
optimizer = optax.adamw(optax.cosine_decay_schedule(0.003, 100 * steps), weight_decay=0.3)


def logits(params, x):
    """The logits."""
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


def loss(params, x, y):
    """The loss of a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


def step(carry, rows):
    """One training step."""
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params, x[rows], y[rows]), state, params)
    return (optax.apply_updates(params, updates), state), None


epoch = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order)[0])
carry = (params, optimizer.init(params))
for _ in range(EPOCHS):
    carry = epoch(carry, jnp.asarray(random.permutation(len(x))[: steps * 32].reshape(steps, 32)))
predicted = np.asarray(logits(carry[0], jnp.asarray(test_x))).argmax(1)
print(f"test accuracy {100 * (predicted == test_y).mean():.1f} %")
