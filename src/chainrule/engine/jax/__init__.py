"""The engine that computes with JAX: on processors, graphics cards and TPUs.

A network's operations (see lowering/) become functions of JAX, which differentiates and compiles
them. Nothing outside of this package imports JAX, and importing this package does.
"""

from __future__ import annotations

from chainrule.engine.jax.engine import JaxEngine

__all__ = ["JaxEngine"]
