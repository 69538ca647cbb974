"""Random networks for sequences, beside the same in JAX: attention of all kinds, scans of all cells,
and both.

    python campaigns/sequence_graphs.py [--count 200]

Of each network, in float64: the output, the gradient and the derivative of the input are those of
JAX within 1e-10, with the same dropout masks; the terms of the chain rule add up to gradients and
deltas within 1e-10; weights are explained, as text, JSON, page and picture; steps are replayed bit
for bit by both engines, whose gradients agree within 1e-12. A few of them are a test, in
tests/layers/test_mixed_sequences.py.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
from hypothesis import HealthCheck, Phase, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import engines
from chainrule.layers.graph import Graph
from mixed_sequences import check, graphs

COUNTED = {
    "lstm", "gru", "simple_rnn", "bidirectional", "attention", "transformer_block", "transformer", "dropout", "rotary",
    "learned_positions", "sinusoidal_positions", "tied_dense", "rms_norm", "layer_norm", "while",
}  # fmt: skip
"""The layers that are counted; `while` is a scan of samples with different lengths."""


def parts(graph: Graph) -> Iterator[str]:
    """The layers of a network that are counted, and what masks its attention."""
    for call in graph.calls:
        yield from {call.layer.word} & COUNTED
        if (mixing := call.layer.mixing(graph.nodes[call.start : call.stop])) is not None:
            yield from ["lengths in attention"] * (len(call.inputs) > 3)
            heads, queries, keys = graph.shapes[graph.numbers[mixing.softmax.name]]
            groups = graph.shapes[call.inputs[1]][0]
            yield from ["grouped heads"] * (groups < heads) + ["attention to another sequence"] * (queries != keys)
            yield from ["causal attention"] * bool(getattr(call.layer, "causal", False))
    for node in graph.nodes:
        yield from {node.layer.word} & COUNTED


def main() -> int:
    """Draw networks and check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="how many networks")
    count = parser.parse_args().count
    jax.config.update("jax_enable_x64", True)
    seen, layers = set[str](), Counter[str]()

    @settings(
        max_examples=2 * count, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(graphs())
    def compare(drawn):
        if repr(drawn) in seen or len(seen) == count:  # each network once
            return
        check(drawn)
        seen.add(repr(drawn))
        layers.update({*parts(drawn.network.graph)})
        print(f"\r{len(seen)} networks", end="", flush=True)

    compare()
    kinds = ", ".join(f"{number} with {word}" for word, number in sorted(layers.items()))
    print(f"\r{len(seen)} different networks ({kinds}), engines: {' and '.join(engines.NAMES)}")
    print("gradients are those of JAX within 1e-10, terms add up, weights are explained, steps replayed bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
