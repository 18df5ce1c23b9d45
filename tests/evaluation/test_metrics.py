"""Which metric decides, and the figures of all outputs of real models."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op
from sklearn.metrics import accuracy_score

from ovtool import api
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.datasets.samples import Boxes, Sample
from ovtool.evaluation.evaluator import GraphEvaluator
from ovtool.evaluation.metrics import MetricRequest, make_judge
from tests.helpers.graphs import constant, save
from tests.helpers.owned import QUICK

pytestmark = pytest.mark.usefixtures("local_workers")

RNG = np.random.default_rng(0)


class Labeled:
    """Random samples of an input x [8], with labels."""

    reference = "data"

    def __init__(self, labels=None, count=12):
        self.labels = [None] * count if labels is None else list(labels)
        self.labelled = labels is not None
        self.inputs = np.random.default_rng(1).standard_normal((len(self.labels), 8))

    def __len__(self):
        return len(self.labels)

    def __iter__(self):
        for row, label in zip(self.inputs.astype(np.float32), self.labels, strict=True):
            yield Sample({"x": row}, label, "row")


def argmax(h, k=1):
    indices = op.topk(h, op.constant(np.int64(k)), 1, "max", "value").output(1)
    return op.squeeze(indices, op.constant(np.int64(1))) if k == 1 else op.convert(indices, "i64")


def model(*heads):
    """x [batch, 8] -> a head per (name, ending, size)."""
    rng = np.random.default_rng(2)
    x = op.parameter([-1, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    results = []
    for name, ending, size in heads:
        h = op.matmul(x, constant(rng, size, 8), False, True)
        h = {
            "linear": lambda h, size=size: op.add(h, constant(rng, 1, size)),
            "softmax": lambda h: op.softmax(h, 1),
            "squeezed": lambda h: op.reshape(op.softmax(h, 1), [0, -1, 1, 1], special_zero=True),
            "tanh": op.tanh,
            "sigmoid": op.sigmoid,
            "negative": op.negative,
            "argmax": argmax,
            "count": lambda h: op.convert(op.reduce_sum(h, np.int64(1)), "i64"),
            "first": lambda h: op.gather(op.sigmoid(h), np.int64(0), np.int64(1)),
        }[ending](h)
        h.output(0).set_names({name})
        results.append(op.result(h))
    return ov.Model(results, [x], "heads")


@pytest.fixture
def heads(tmp_path):
    def make(*heads, name="v"):
        return save(tmp_path / name, model(*heads))

    return make


@pytest.mark.parametrize(
    ("outputs", "metric", "classes"),
    [
        ([("y", "softmax", 3)], "agreement", {"y"}),
        ([("y", "squeezed", 3)], "agreement", {"y"}),
        ([("y", "argmax", 3)], "agreement", {"y"}),
        ([("y", "argmax", 3), ("z", "softmax", 3)], "agreement", {"y", "z"}),
        ([("y", "linear", 3)], "cosine", set()),  # three scores of a regressor
        ([("y", "linear", 136)], "cosine", set()),  # landmarks, or an embedding
        ([("y", "first", 3)], "cosine", set()),  # a share, or a class
        ([("y", "count", 3)], "cosine", set()),
        ([("y", "tanh", 64)], "cosine", set()),  # an embedding
        ([("y", "sigmoid", 20)], "cosine", set()),  # many labels at once
        ([("y", "softmax", 5), ("z", "linear", 4)], "cosine", {"y"}),  # the box must count
        ([("y", "softmax", 5), ("z", "softmax", 4)], "agreement", {"y", "z"}),
    ],
)
def test_without_labels_the_outputs_decide(heads, outputs, metric, classes):
    judge = make_judge(MetricRequest(), heads(*outputs), Labeled())
    assert (judge.metric, set(judge.classes)) == (metric, classes)
    assert outputs[0][0] in judge.reason or outputs[-1][0] in judge.reason


TEN, ONE, THREE = [("y", "linear", 10)], [("y", "linear", 1)], [("y", "linear", 3)]


@pytest.mark.parametrize(
    ("outputs", "label", "metric", "target"),
    [
        (TEN, 3, "top1", "y"),
        (THREE, 2, "top1", "y"),
        (ONE, 2, "mae", "y"),
        (ONE, 2.5, "mae", "y"),
        (THREE, np.array([1.0, 2.0, 3.0]), "mae", "y"),
        ([("a", "linear", 4), *THREE], np.zeros(3), "mae", "y"),
        (ONE, 1, "top1", "y"),
        ([("y", "tanh", 1)], 1, "mae", "y"),  # the threshold is unknown
        ([("y", "argmax", 3)], 2, "top1", "y"),
        ([("a", "linear", 64), ("y", "sigmoid", 1)], 1, "top1", "y"),
        ([("a", "linear", 64), ("y", "sigmoid", 1)], 2, "top1", "a"),
        ([("a", "linear", 4), ("y", "softmax", 3)], 1, "top1", "y"),
        (TEN, Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0)), "map", None),
    ],
)
def test_labels_decide(heads, outputs, label, metric, target):
    judge = make_judge(MetricRequest(), heads(*outputs), Labeled([label] * 3))
    assert (judge.metric, judge.target) == (metric, target)


@pytest.mark.parametrize(
    ("outputs", "label", "request_", "value"),
    [
        (TEN, None, {"metric": "top1"}, "top1"),
        (TEN, 2, {"metric": "map"}, "map.* classes"),
        (TEN, np.zeros(3), {}, "3 values.*y "),
        (TEN, None, {"outputs": ("scores",)}, "scores"),
        (TEN, None, {"metric": "accuracy"}, "accuracy"),
        (TEN, None, {"metric": "json:loads"}, "json:loads"),  # without trust
        (TEN, np.zeros(3, np.int64), {"metric": "top1"}, "top1.* numbers"),
        (TEN, np.zeros(3, np.int64), {"metric": "iou"}, r"iou.*\[3\]"),
        ([("y", "tanh", 1)], None, {"metric": "agreement"}, r"agreement.*y "),
        (ONE, 2, {"metric": "top1"}, r"top1.*y "),
    ],
)
def test_requests_that_do_not_fit_are_rejected(heads, outputs, label, request_, value):
    samples = Labeled(None if label is None else [label] * 3)
    with pytest.raises(InputError, match=value):
        make_judge(MetricRequest(**request_), heads(*outputs), samples)


def test_a_comparison_needs_a_baseline(heads, held_out):
    with pytest.raises(InputError, match="cosine"):
        api.evaluate(heads(*THREE), held_out)


def test_the_error_is_that_of_the_named_output(heads):
    """Right value: the formula on the outputs of OpenVINO."""
    variant = heads(("a", "linear", 3), ("b", "tanh", 3))
    targets = RNG.standard_normal((12, 3)).astype(np.float32)
    samples = Labeled(targets)
    exact = ov.Core().compile_model(variant.xml, "CPU")(samples.inputs.astype(np.float32))
    for index, request in ((0, MetricRequest()), (1, MetricRequest(outputs=("b",)))):
        result = GraphEvaluator(samples, variant, request)(ov.Core().read_model(variant.xml))
        assert result.value == pytest.approx(np.abs(exact[index] - targets).mean(), rel=1e-5)
        assert result.low < result.value < result.high


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["linear", "sigmoid"])
def test_accuracy_of_one_score_is_that_of_its_side_of_the_threshold(heads, ending):
    """Right values: accuracy_score of scikit-learn."""
    variant, other = heads(("y", ending, 1)), heads(("y", "negative", 1), name="other")
    labels = (np.arange(60) % 3 == 0).astype(int)
    samples = Labeled(labels.tolist(), 60)
    exact = ov.Core().compile_model(variant.xml, "CPU")(samples.inputs.astype(np.float32))[0]
    predicted = exact[:, 0] > (0.5 if ending == "sigmoid" else 0)
    assert 0 < predicted.mean() < 1
    evaluator = GraphEvaluator(samples, variant)
    value = evaluator(ov.Core().read_model(variant.xml)).value
    assert evaluator.metric == "accuracy_top1"
    assert value == pytest.approx(accuracy_score(labels, predicted))
    agreement = GraphEvaluator(Labeled(None, 60), variant, MetricRequest("agreement"))
    assert agreement(ov.Core().read_model(variant.xml)).value == 1
    same = ov.Core().compile_model(other.xml, "CPU")(samples.inputs.astype(np.float32))[0][:, 0]
    expected = accuracy_score(predicted, same > (0.5 if ending == "sigmoid" else 0))
    assert agreement(ov.Core().read_model(other.xml)).value == pytest.approx(expected)


def test_an_index_is_compared_with_the_class(heads):
    variant = heads(("y", "argmax", 5))
    samples = Labeled((np.arange(60) % 5).tolist(), 60)
    exact = ov.Core().compile_model(variant.xml, "CPU")(samples.inputs.astype(np.float32))[0]
    evaluator = GraphEvaluator(samples, variant)
    value = evaluator(ov.Core().read_model(variant.xml)).value
    assert value == pytest.approx(accuracy_score(samples.labels, exact))
    assert 0 < value < 1


def count_positive(outputs, labels):
    """The metric of a user: the share of positive values of y."""
    assert labels is None
    return float((outputs["y"] > 0).mean())


@pytest.mark.parametrize("metric", ["tests.evaluation.test_metrics:count_positive", "cosine"])
def test_labels_that_fit_no_output_need_a_metric_that_accepts_them(heads, metric):
    samples = Labeled([np.arange(12)] * 3)
    judge = make_judge(MetricRequest(metric, trust=True), heads(*THREE), samples)
    assert (judge.metric, judge.target) == (metric, None)
    assert (judge.labels is None) == (metric == "cosine")


def test_metric_of_the_user(heads):
    request = MetricRequest("tests.evaluation.test_metrics:count_positive", trust=True)
    variant = heads(*THREE)
    evaluator = GraphEvaluator(Labeled(), variant, request)
    rows = evaluator.samples.inputs.astype(np.float32)
    exact = ov.Core().compile_model(variant.xml, "CPU")(rows)[0]
    assert evaluator.metric == "custom_metric"
    value = evaluator(ov.Core().read_model(variant.xml)).value
    assert value == pytest.approx((exact > 0).mean())


def test_a_metric_that_raises_is_named(heads):
    request = MetricRequest("json:loads", trust=True)
    evaluator = GraphEvaluator(Labeled(), heads(*THREE), request)
    with pytest.raises(InputError, match="json:loads"):
        evaluator(ov.Core().read_model(evaluator.variant.xml))


@pytest.fixture
def held_out(tmp_path):
    path = tmp_path / "held-out.npz"
    np.savez(path, x=Labeled().inputs.astype(np.float32))
    return str(path)


@pytest.mark.slow
def test_a_wrong_second_output_is_the_quality(heads, held_out):
    right = heads(("boxes", "linear", 12), ("other", "tanh", 12), name="right")
    wrong = heads(("boxes", "linear", 12), ("other", "negative", 12), name="wrong")
    result = api.evaluate(wrong, held_out, baseline=right)
    assert result.metric == "output_cosine"
    assert result.figures["output_cosine"] < -0.5
    worst = {part.output: part.cosine.value for part in result.outputs}
    assert worst["boxes"] == pytest.approx(1)
    assert worst["other"] == result.figures["output_cosine"]
    assert "other" in next(n.evidence for n in result.notes if n.id == "worst-output")
    named = api.evaluate(wrong, held_out, baseline=right, outputs=["boxes"])
    assert named.figures["output_cosine"] == pytest.approx(1)


def positions(above):
    """x [1, 64] -> the positions of values above a limit, [2, found]."""
    x = op.parameter([1, 64], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = op.non_zero(op.greater(x, op.constant(np.float32(above))))
    h.output(0).set_names({"y"})
    return ov.Model([op.result(h)], [x], "positions")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, x=RNG.standard_normal((20, 1, 64)).astype(np.float32)[:, 0])
    return str(path)


@pytest.mark.slow
def test_outputs_of_varying_size_are_compared(tmp_path, rows):
    exact = save(tmp_path / "exact", positions(0.0))
    same = api.evaluate(exact, rows, baseline=exact)
    assert same.figures["output_cosine"] == pytest.approx(1)
    assert same.figures["quality_samples"] == 20
    other = api.evaluate(save(tmp_path / "other", positions(0.05)), rows, baseline=exact)
    x = np.load(rows)["x"]
    differ = ((x > 0).sum(1) != (x > 0.05).sum(1)).mean()
    assert 0 < differ < 1
    assert other.figures["output_size_differs_pct"] == pytest.approx(100 * differ)
    assert other.figures["output_cosine"] == pytest.approx(1 - differ)
    assert "output-sizes-differ" in [note.id for note in other.notes]


@pytest.mark.slow
def test_a_sweep_keeps_the_speed_and_the_quality_of_varying_sizes(tmp_path, rows):
    variant = save(tmp_path / "v", positions(0.0))
    spec = SweepSpec(**QUICK, hints=("latency",))
    done = api.sweep([variant], out=tmp_path / "s", spec=spec, data=rows)
    (measurement,) = SweepFolder(done.folder).measurements()
    assert measurement.status == "ok"
    assert measurement.figures["throughput_fps"] > 0
    assert measurement.figures["output_cosine"] == 1
    plan = SweepFolder(done.folder).plan
    assert (plan.quality_metric, "y" in plan.quality_reason) == ("output_cosine", True)
    choice = api.choose([done.folder], spec=api.ChoiceSpec(min_quality=0.9))
    assert choice.winner["output_cosine"] == 1


def test_the_record_names_the_judged_outputs(heads):
    request = MetricRequest("mae", ("b",))
    variant = heads(("a", "linear", 3), ("b", "tanh", 3))
    evaluator = GraphEvaluator(Labeled(np.zeros((4, 3))), variant, request)
    assert evaluator.description == "mean_absolute_error, output b"
