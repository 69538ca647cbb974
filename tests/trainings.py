"""How tests compare two trainings."""


def assert_same(one, other):
    """Two trainings with the same history, weights, predictions and scores, bit for bit."""
    assert one.history == other.history
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.raw(one.data.test).tobytes() == other.raw(other.data.test).tobytes()
    assert one.evaluate() == other.evaluate()
