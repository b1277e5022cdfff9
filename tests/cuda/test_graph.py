"""A training step in a graph: the same numbers as one operation after the other, in the simulator.

There are no graphs in the simulator. A double stands for them: it notes the launches of a captured step and plays them
again, in order, on the same memory. What is not a launch is not repeated, as on a GPU.
"""

import gc
import weakref

import numpy as np
import pytest
from gpu import GPU

import minicnn
from minicnn import backends, nn, optim
from minicnn.functional import door
from minicnn.training import GraphedStep, Trainer

pytestmark = pytest.mark.skipif(GPU or backends.why_missing("cuda") is not None, reason="needs numba-cuda's simulator")


class Played:
    """Graph, with launches that are noted."""

    captures = 0

    def __init__(self):
        from minicnn.backends.cuda.tape import Tape

        self.tape, self.launches = Tape(np.array), []

    def run(self, call):
        with self.tape.on("run"):
            return call()

    def capture(self, call):
        from minicnn.backends.cuda import launch
        from minicnn.backends.settings import record

        Played.captures += 1
        simulate = launch._simulate
        launch._simulate = lambda *launched: self.launches.append(launched)
        try:
            with self.tape.on("record"), record():
                return call()
        finally:
            launch._simulate = simulate

    def replay(self, host_part):
        with self.tape.on("refresh"):
            host_part()
        self.start()

    def start(self):
        from minicnn.backends.cuda import launch

        self.tape.write()
        for launched in self.launches:
            launch._simulate(*launched)


class Flat(nn.Module):
    """Flatten without a copy, which would not be a launch."""

    def forward(self, x):
        self.keep(x.shape)
        return x.reshape(len(x), -1)

    def backward(self, dy, need_dx=True):
        with self.kept() as shape:
            return dy.reshape(shape)


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    from minicnn.backends.cuda import graph

    monkeypatch.setattr(graph, "available", lambda: True)
    monkeypatch.setattr(graph, "Graph", Played)
    monkeypatch.setattr(Played, "captures", 0)
    with minicnn.backend("cuda"):
        yield


def network(*more):
    minicnn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), *more, Flat(),
        nn.Linear(8, 3),
    )  # fmt: skip


def batches(count, size=2):
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((size, 1, 4, 4)).astype(np.float32), rng.integers(0, 3, size)) for _ in range(count)]


def adam(model):
    return optim.Adam(model.parameters(), lr=0.01)


def momentum(model):
    return optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)


def steps(model, optimizer, data, graphed, criterion=None, schedule=None):
    """(losses, why each step was not a graph) of a step a batch."""
    criterion = criterion or nn.CrossEntropyLoss()
    step = GraphedStep(model, criterion, optimizer)
    losses, reasons = [], []
    for x, target in data:
        _, loss = step(x, target) if graphed else step._eager(x, target)
        losses.append(float(loss))
        reasons.append(step.why_eager)
        if schedule:
            schedule.step()
    return losses, reasons


def assert_same(model, other):
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name], name)


@pytest.mark.parametrize("optimizer", [adam, momentum])
def test_a_graph_does_what_the_operations_do(optimizer):
    """To the bit: weights, running statistics, counts of batches, losses. The rate changes, Adam counts its steps."""
    results = []
    for graphed in (False, True):
        model = network()
        optimizer_ = optimizer(model)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer_, 0.5)
        criterion = nn.CrossEntropyLoss(ignore_index=0)  # the divisor of the mean changes
        losses, reasons = steps(model, optimizer_, batches(5), graphed, criterion, schedule)
        results.append((model, losses, reasons))
    (expected, losses, _), (model, played, reasons) = results
    assert reasons == ["step 1 of its kind", "step 2 of its kind", None, None, None]
    assert Played.captures == 1
    assert played == losses and np.isfinite(losses).all()
    assert_same(model, expected)


def test_each_kind_of_step_has_its_graph():
    """Another size of batch, a frozen layer and eval mode are other steps; the first graph is still there."""
    data, other = batches(4), batches(1, size=3)
    results = []
    for graphed in (False, True):
        model, reasons = network(), []
        optimizer = momentum(model)
        step = GraphedStep(model, nn.CrossEntropyLoss(), optimizer)
        for x, target in [*data[:3], *other, data[3]]:
            step(x, target) if graphed else step._eager(x, target)
            reasons.append(step.why_eager)
        model[0].requires_grad_(False)
        step(*data[0]) if graphed else step._eager(*data[0])
        reasons.append(step.why_eager)
        results.append((model, reasons))
    assert results[1][1] == [*(f"step {n} of its kind" for n in (1, 2)), None, "step 1 of its kind", None,
                             "step 1 of its kind"]  # fmt: skip
    assert_same(results[1][0], results[0][0])


def hooked(model):
    model[1].register_forward_hook(lambda module, x, y: None)


def averaging(model):
    model[1].momentum = None


@pytest.mark.parametrize(
    ("change", "more", "reason"),
    [
        (hooked, (), "1 has hooks"),
        (averaging, (), "1 averages over a count of batches"),
        (lambda model: None, (nn.Dropout(0.5),), "4 draws its mask in main memory"),
    ],
    ids=["hooks", "momentum None", "dropout"],
)
def test_what_a_graph_cannot_repeat_runs_one_operation_after_the_other(change, more, reason):
    model = network(*more)
    change(model)
    _, reasons = steps(model, momentum(model), batches(3), True)
    assert reasons == [reason] * 3
    with door.listen(door.Listener()):
        model = network()
        assert "listens" in steps(model, momentum(model), batches(1), True)[1][0]


def test_a_step_that_cannot_be_captured_is_taken_all_the_same(monkeypatch):
    """What the attempt has counted is taken back: weights and counts are those of eager steps."""
    from minicnn.backends.cuda.graph import NotRecordable

    def refuse(self, call):
        call()
        raise NotRecordable("a reason")

    expected, model = network(), network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Played, "capture", lambda self, call: refuse_quietly(self, call, refuse))
        _, reasons = steps(model, adam(model), batches(4), True)
    steps(expected, adam(expected), batches(4), False)
    assert reasons[2:] == ["it cannot be captured: a reason"] * 2
    assert_same(model, expected)


def refuse_quietly(graph, call, refuse):
    """The launches of the attempt do nothing."""
    with graph.tape.on("refresh"):
        refuse(graph, call)


def test_a_target_out_of_range_is_found_before_the_step():
    model = network()
    step = GraphedStep(model, nn.CrossEntropyLoss(), momentum(model))
    for x, target in batches(3):
        step(x, target)
    before = model.state_dict()
    with pytest.raises(IndexError, match="target must be a class, 0 to 2"):
        step(x, np.array([0, 3]))
    for name, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_the_trainer_takes_graphs():
    histories, models = [], []
    for graph in (False, True):
        models.append(network())
        trainer = Trainer(models[-1], nn.CrossEntropyLoss(), momentum(models[-1]), graph=graph)
        histories.append([record["loss"] for record in trainer.fit(batches(3), epochs=2)])
    assert Played.captures == 1
    assert histories[0] == histories[1]
    assert_same(*models)


@pytest.mark.parametrize("graphed", [False, True])
def test_as_many_arrays_live_after_many_steps_as_after_a_few(graphed, monkeypatch):
    """Those that the backend makes for results and scratch: all come from these two functions."""
    living = {}

    def counted(make):
        def call(*args, **options):
            array = make(*args, **options)
            ref = weakref.ref(array, lambda ref: living.pop(id(ref)))
            living[id(ref)] = ref
            return array

        return call

    for name in ("empty", "zeros"):
        monkeypatch.setattr(np, name, counted(getattr(np, name)))
    model = network()
    step = GraphedStep(model, nn.CrossEntropyLoss(), adam(model))
    x, target = batches(1)[0]

    def live(count):
        for _ in range(count):
            step(x, target) if graphed else step._eager(x, target)
        gc.collect()
        return len(living)

    few = live(4)
    assert few > 0 and live(12) == few
