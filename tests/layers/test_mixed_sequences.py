"""Random networks of attention and scans, beside the same in JAX: gradients, terms, explanations, and
steps that are replayed. More of them: campaigns/sequence_graphs.py.
"""

from hypothesis import given, settings

from mixed_sequences import check, graphs


@given(graphs())
@settings(max_examples=3, deadline=None)
def test_a_network_for_sequences_is_that_of_jax_explained_and_replayed(drawn):
    check(drawn)
