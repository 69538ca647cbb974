"""Training on samples on a disk: block by block, to the same bits as in memory, and never all of them
at once.
"""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engines
from chainrule.arrays import Samples, Scaled, row_bytes
from chainrule.data import from_arrays, load
from chainrule.data.prepared import prepared
from chainrule.descent import optimizer
from chainrule.engine import native
from chainrule.errors import DataError, NonFiniteError, SettingError
from chainrule.runs import follow
from chainrule.training import Stepped, Timeline, blocks, make_plan, parts, start
from chainrule.training.blocks import OF_ORDER, Blocks, Order, blocks_for
from chainrule.training.choice import plan_for
from chainrule.training.class_weights import balanced
from chainrule.training.loop import evaluate
from on_disk import on_disk

NETWORK = "8 relu, dropout 0.3, batchnorm, 6 tanh"


@pytest.fixture(scope="module", autouse=True)
def few_steps_at_a_time():
    """Let the native engine yield single steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SLICE", 0.0)
        yield


@pytest.fixture(scope="module")
def data():
    """300 rows with weights."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 5)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=400) > 0).astype(int)
    whole = from_arrays(x[:300], y[:300], validation=(x[300:], y[300:]), weight=random.uniform(0.5, 2, 300))
    return replace(whole, test=whole.validation)


def trained(data, divided=None, network=NETWORK, callbacks=(), **settings):
    plan = make_plan(network, data, **({"epochs": 3, "optimizer": "adam 0.01"} | settings))
    plan = replace(plan, blocks=divided) if divided is not None else plan
    return follow(plan, data, start(plan), callbacks)


def assert_same(a, b):
    assert a.parameters.tobytes() == b.parameters.tobytes()
    assert a.statistics.tobytes() == b.statistics.tobytes()
    assert a.history == b.history


@st.composite
def orders(draw):
    samples, size = draw(st.integers(1, 200)), draw(st.integers(1, 40))
    rows, piece = size * draw(st.integers(1, 12)), draw(st.integers(1, 60))
    return Order(draw(st.integers(0, 9)), samples, size, Blocks(rows, piece)), draw(st.integers(0, 3))


@given(orders())
def test_an_epoch_takes_each_row_once_in_whole_mini_batches(drawn):
    order, epoch = drawn
    each = [order.block(epoch, k) for k in range(order.count)]
    rows = np.concatenate([numbers[places] for numbers, places in each])
    assert sorted(rows) == list(range(order.samples))
    sizes = [len(numbers) for numbers, _ in each]
    assert max(sizes) <= order.blocks.rows
    assert all(count % order.size == 0 for count in sizes[:-1])
    assert max(sizes) - min(sizes) < 2 * order.size
    for k, (numbers, _) in enumerate(each):
        assert (np.diff(numbers) > 0).all()
        assert np.concatenate([np.arange(*part) for part in order.parts(epoch, k)]).tolist() == numbers.tolist()
    taken = [order.numbers(epoch, step) for step in range(order.length)]
    assert np.concatenate(taken).tolist() == rows.tolist()
    assert all(len(batch) == order.size for batch in taken[:-1])


def test_each_epoch_fills_its_blocks_with_other_pieces_from_all_over_the_set():
    order = Order(0, 10_000, 10, Blocks(1000, 20))
    first, second = (order.block(epoch, 0).numbers for epoch in (0, 1))
    assert len(np.intersect1d(first, second)) < 300
    assert abs(first.mean() - 5000) < 150
    assert (np.histogram(first, 4, (0, 10_000))[0] > 200).all()


def test_the_order_depends_on_nothing_but_seed_and_epoch():
    one, other = (Order(seed, 1000, 10, Blocks(100, 7)) for seed in (1, 1))
    one.block(0, 3)  # remembers its pieces
    assert one.block(2, 5).numbers.tolist() == other.block(2, 5).numbers.tolist()
    assert one.block(2, 5).order.tolist() == other.block(2, 5).order.tolist()
    assert Order(2, 1000, 10, Blocks(100, 7)).block(2, 5).numbers.tolist() != other.block(2, 5).numbers.tolist()


@pytest.mark.parametrize("engine", engines.NAMES)
def test_one_block_gives_the_bits_of_training_in_memory(data, tmp_path, engine):
    streamed = trained(on_disk(data, tmp_path), engine=engine)
    assert streamed.plan.blocks.rows >= 300
    assert_same(streamed, trained(data, engine=engine))


@pytest.mark.parametrize("engine", engines.NAMES)
@pytest.mark.parametrize("size", [16, 7])
def test_blocks_give_the_same_bits_on_disk_and_in_memory(data, tmp_path, engine, size):
    divided = Blocks(4 * size, 5)
    of_disk = on_disk(data, tmp_path)
    streamed = trained(of_disk, divided, engine=engine, batch_size=size)
    assert_same(streamed, trained(data, divided, engine=engine, batch_size=size))
    assert of_disk.training.most <= 4 * size
    assert streamed.parameters.tobytes() != trained(data, engine=engine, batch_size=size).parameters.tobytes()


def test_augmented_samples_too(tmp_path):
    x = np.random.default_rng(1).normal(size=(100, 8, 8)).astype(np.float32)
    pictures = from_arrays(x, (x.mean(axis=(1, 2)) > 0).astype(int))
    settings = {"network": "flatten, 4 relu", "augment": "shift 2", "batch_size": 8}
    streamed = trained(on_disk(pictures, tmp_path), Blocks(24, 5), **settings)
    assert_same(streamed, trained(pictures, Blocks(24, 5), **settings))


@pytest.mark.parametrize("step", [1, 9, 19, 20, 30])
def test_resumed_within_an_epoch_and_a_block(data, tmp_path, step):
    def stop(event):
        if isinstance(event, Stepped) and event.progress.position.step == step:
            event.stop()

    divided, of_disk = Blocks(64, 5), on_disk(data, tmp_path)
    whole = trained(of_disk, divided, batch_size=16)
    stopped = trained(of_disk, divided, batch_size=16, callbacks=[stop])
    assert stopped.progress.position.step == step
    assert_same(whole, follow(stopped.plan, of_disk, stopped.progress))


@pytest.mark.parametrize("engine", engines.NAMES)
def test_any_step_is_replayed_and_reads_only_its_rows(data, tmp_path, engine):
    seen, of_disk, divided = {}, on_disk(data, tmp_path), Blocks(160, 5)

    def listen(event):
        if isinstance(event, Stepped):
            seen[event.chunk.before.step] = event.chunk

    result = trained(of_disk, divided, engine=engine, batch_size=16, callbacks=[listen])
    plan, training = result.plan, of_disk.training
    timeline = Timeline(training, [(0, plan)], {step: chunk.before for step, chunk in seen.items()}, result.history)
    training.count = training.most = 0
    for step in (0, 5, 18, 19, 37):
        (live,), record = list(seen[step].steps()), timeline.record(step)
        assert record.rows.tolist() == live.rows.tolist() == plan.order(300).numbers(*divmod(step, 19)).tolist()
        assert record.gradient.tobytes() == live.gradient.tobytes()
        assert record.after.parameters.tobytes() == live.after.parameters.tobytes()
    assert training.count <= 5 * 16 + 4
    from_start = Timeline(training, [(0, plan)], {0: seen[0].before}, result.history)
    assert from_start.position(50).parameters.tobytes() == seen[50].before.parameters.tobytes()
    assert training.most <= 160


def test_at_most_two_blocks_are_in_memory(data, tmp_path, monkeypatch):
    alive, most = [], []

    def counted(*arguments, read=blocks.read_block):
        most.append(sum(one() is not None for one in alive))  # before there is another
        found = read(*arguments)
        alive.append(weakref.ref(found.x))
        return found

    monkeypatch.setattr(blocks, "read_block", counted)
    gc.disable()  # nothing waits for it
    try:
        trained(on_disk(data, tmp_path), Blocks(32, 5), batch_size=16)
    finally:
        gc.enable()
    assert len(most) == 3 * 10
    assert max(most) <= 1


@pytest.mark.parametrize("kind", ["numbers", "prepared", "pictures"])
def test_memory_is_used_again_unless_somebody_holds_a_part_of_it(data, kind):
    x, y, weight = data.training
    if kind == "pictures":
        x = Scaled(prepared(np.zeros((300, 4, 4), np.uint8)), np.ones(1, np.float32), np.ones(1, np.float32))
    samples = Samples(prepared(x), prepared(y), weight) if kind == "prepared" else Samples(x, y, weight)
    rooms = blocks.Rooms(samples)

    def bytes_of(part):
        return np.asarray(part.raw if kind == "pictures" else part)

    first = rooms.take(20, 30)
    first_memory, held = bytes_of(first.x).ctypes.data, np.asarray(first.y)[3:5]
    del first
    second = rooms.take(30, 30)
    assert bytes_of(second.x).ctypes.data != first_memory  # the targets of the first are held
    second_memory = bytes_of(second.x).ctypes.data
    del second, held
    third = rooms.take(25, 30)
    fourth = rooms.take(30, 30)
    assert [bytes_of(one.x).ctypes.data for one in (third, fourth)] == [first_memory, second_memory]


def test_blocks_follow_from_the_memory(data, tmp_path):
    rows = on_disk(data, tmp_path).training
    each = row_bytes(rows) + OF_ORDER
    assert blocks_for(data.training, 16) is None
    assert blocks_for(rows, 16, 8 * 100 * each) == Blocks(96, 1)
    assert blocks_for(rows, 16, 10**12) == Blocks(304, 4)
    with pytest.raises(SettingError, match=r"a mini-batch of 16 samples takes .* choose a smaller batch_size"):
        blocks_for(rows, 16, 8 * 15 * each)


def test_an_optimizer_that_needs_all_samples_is_refused(data, tmp_path):
    with pytest.raises(SettingError, match="takes all samples in each step, but they don't fit into memory"):
        make_plan("4 relu", on_disk(data, tmp_path), optimizer="lbfgs")


def test_what_looks_at_all_samples_is_refused_in_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.rows.MOST_BYTES", 100 * row_bytes(data.training))
    x, known = on_disk(data, tmp_path).training.x, data.training.x
    for index in (slice(5, 9), slice(None, 20, 3), 7, -1, [3, 1], np.arange(300) < 4, (2, 1), (slice(3), 0)):
        np.testing.assert_array_equal(x[index], known[index])
    assert len(x[9:5]) == 0
    for whole in (np.asarray, np.mean, lambda x: x + 1, lambda x: x.mean(), lambda x: x[:]):
        with pytest.raises(DataError, match="300 samples at once"):
            whole(x)


METRICS = {
    "classes": "accuracy, f1, balanced_accuracy, log_loss, recall_weighted, matthews_corrcoef, roc_auc",
    "three": "accuracy, f1, precision_micro, jaccard, log_loss, neg_log_loss, calibration_error",
    "quantity": "r2, mae, rmse, neg_mean_absolute_error, neg_max_error",
}


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_evaluation_in_parts(tmp_path, monkeypatch, kind, is_weighted):
    random = np.random.default_rng(2)
    x, weight = random.normal(size=(500, 3)).astype("f4"), random.uniform(size=500) if is_weighted else None
    noisy = x[:, 0] + random.normal(size=500) / 2
    y = {"classes": (noisy > 0).astype(int), "three": np.digitize(noisy, [-0.5, 0.5]), "quantity": noisy}[kind]
    data = from_arrays(x, y, weight=weight)
    plan = make_plan("5 tanh", data, metrics=METRICS[kind], epochs=1)
    at, rows = start(plan).position, on_disk(data, tmp_path).training
    chosen = (plan, data.target)
    known = evaluate(*chosen, data.training, at.parameters, at.statistics)
    assert evaluate(*chosen, rows, at.parameters, at.statistics) == known
    assert parts.sampled(plan.metrics, data.target, plan.loss, rows, plan.outputs) == ""
    monkeypatch.setattr(parts, "PART_NUMBERS", 120)
    monkeypatch.setattr(parts, "MOST_NUMBERS", 700)
    some = evaluate(*chosen, rows, at.parameters, at.statistics)
    last = {"classes": ["matthews_corrcoef", "roc_auc"], "three": ["calibration_error"], "quantity": ["neg_max_error"]}
    note = parts.sampled(plan.metrics, data.target, plan.loss, rows, plan.outputs)
    assert note.startswith(", ".join(last[kind]) + ": measured on 2" if kind == "classes" else last[kind][0])
    assert list(some) == list(known)
    for name in known:
        if name not in last[kind]:
            assert some[name] == pytest.approx(known[name], rel=1e-6), name
    step = parts.kept_step(rows, plan.outputs)
    thin = evaluate(*chosen, data.training.take(np.arange(0, 500, step)), at.parameters, at.statistics)
    assert {name: some[name] for name in last[kind]} == {name: thin[name] for name in last[kind]}


def test_class_weights_and_defaults(data, tmp_path):
    of_disk = on_disk(data, tmp_path)
    assert balanced(of_disk) == balanced(data)
    plan = plan_for(None, of_disk, epochs=2)
    assert plan.blocks is not None
    assert all(name.startswith("network") for name in plan.selection.candidates)
    assert plan.selection.rows <= 300
    rates = trained(of_disk, Blocks(64, 5), optimizer=optimizer("adamw 0.003 schedule=cosine warmup=3"), batch_size=16)
    assert_same(rates, trained(data, Blocks(64, 5), optimizer="adamw 0.003 schedule=cosine warmup=3", batch_size=16))


def test_a_row_that_can_not_be_read_ends_training_with_all_steps_before_it(data, tmp_path):
    of_disk, ends, order = on_disk(data, tmp_path), [], Order(0, 300, 16, Blocks(64, 5))
    of_disk.training.broken = int(order.block(0, 3).numbers[5])
    with pytest.raises(DataError, match=r"row \d+ can't be read; restore it"):
        trained(of_disk, Blocks(64, 5), batch_size=16, callbacks=[ends.append])
    assert ends[-1].reason == "interrupted"
    assert ends[-1].progress.position.step == order.first(3)


def test_a_changed_source_ends_training_at_the_next_epoch(data, tmp_path):
    of_disk, ends = on_disk(data, tmp_path), []

    def change(event):
        ends.append(event)
        of_disk.training.changed = True

    with pytest.raises(DataError, match="it has changed"):
        trained(of_disk, Blocks(304, 5), batch_size=16, callbacks=[change])
    assert ends[-1].reason == "interrupted"


@pytest.mark.parametrize("engine", engines.NAMES)
def test_a_number_that_is_not_finite_is_found(data, tmp_path, engine):
    x = np.array(data.training.x)
    x[123, 2] = np.nan
    broken = replace(data, training=data.training._replace(x=x))
    with pytest.raises(NonFiniteError) as known:
        trained(broken, Blocks(64, 5), engine=engine, batch_size=16)
    with pytest.raises(NonFiniteError) as found:
        trained(on_disk(broken, tmp_path), Blocks(64, 5), engine=engine, batch_size=16)
    assert str(found.value) == str(known.value)


def test_iris_from_a_disk_is_evaluated_and_reported(tmp_path):
    of_disk = on_disk(load("iris"), tmp_path)
    result = trained(of_disk, Blocks(32, 5), network="8 tanh", batch_size=16, epochs=20)
    assert result.evaluate() == result.evaluate(load("iris").test)
    assert result.report().confusion.sum() == len(of_disk.test.x)
