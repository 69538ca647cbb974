"""What all tests share: JAX in float64 as an independent oracle, and hypothesis without a clock."""

import jax
from hypothesis import settings

jax.config.update("jax_enable_x64", True)
settings.register_profile("chainrule", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("chainrule")
