"""Datasets travel like models, and a host judges the quality on its devices."""

import numpy as np
import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.variant import Variant
from ovtool.datasets.registry import DATASETS, WITHOUT_FILES, load_samples
from ovtool.datasets.spec import DataSpec
from ovtool.evaluation.metrics import MetricRequest
from ovtool.fleet.cache import Cache
from ovtool.fleet.messages import Data
from ovtool.fleet.outgoing import Outgoing
from ovtool.fleet.run import sweep_fleet
from tests.fleet.conftest import needs_dask
from tests.helpers.graphs import convolutional, save

QUICK = {"rounds": 3, "round_s": 0.02, "max_seconds": 0.1, "target_pct": 50, "starts": False,
         "hints": ["latency"]}  # fmt: skip


def outgoing(source, folder, labels=None):
    sent = Outgoing()
    folder.mkdir()
    sent.add_data(DataSpec(str(source), labels and str(labels)), MetricRequest(), {}, folder)
    return sent


def arrive(sent, cache):
    """Store all files in a cache, and return the folder of the dataset."""
    for sha256, path in sent.paths.items():
        content = path.read_bytes()
        cache.store(sha256, len(content), 0, content)
    return cache.folder_of(cache.read_list(sent.data.files))


@pytest.fixture
def labeled(tmp_path):
    """An .npz with 12 samples; a part of the labels are the classes of the network."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(12, 3, 16, 16)).astype(np.float32)
    model = ov.Core().compile_model(convolutional(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    classes = model(inputs)[0].argmax(1)
    classes[:3] = (classes[:3] + 1) % 10
    path = tmp_path / "labeled.npz"
    np.savez(path, x=inputs, label=classes)
    return path


def test_a_folder_of_images_arrives_with_its_labels_and_classes(tmp_path, image_folder):
    folder, table = image_folder
    sent = outgoing(folder, tmp_path / "scratch", table)
    found = arrive(sent, Cache(tmp_path / "cache"))
    names = {p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()}
    assert {"data/a.png", "data/inner/b.png", "labels/table.csv", "labels/classes.txt"} <= names
    assert not any("hidden" in name for name in names)
    assert (found / sent.data.labels).read_bytes() == table.read_bytes()


@pytest.fixture
def image_folder(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    for number, name in enumerate(("a.png", "inner/b.png", ".hidden.png")):
        Image.new("RGB", (16, 16), (number * 40, 0, 0)).save(folder / name)
    table = tmp_path / "elsewhere" / "table.csv"
    table.parent.mkdir()
    table.write_text("file,label\na.png,cat\ninner/b.png,dog\n")
    (table.parent / "classes.txt").write_text("cat\ndog\n")
    return folder, table


def test_an_array_arrives_as_it_is(tmp_path, labeled, net):
    sent = outgoing(labeled, tmp_path / "scratch")
    found = arrive(sent, Cache(tmp_path / "cache"))
    inputs, preprocessing = net.record.inputs, net.record.preprocessing
    here, there = (
        load_samples(str(path), inputs, preprocessing)
        for path in (labeled, found / sent.data.source)
    )
    for a, b in zip(here, there, strict=True):
        assert a.label == b.label
        np.testing.assert_array_equal(a.inputs["x"], b.inputs["x"])


def test_a_text_arrives_as_it_is(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox\n" * 400)
    sent = outgoing(text, tmp_path / "scratch")
    found = arrive(sent, Cache(tmp_path / "cache"))
    assert sent.data.source == "data/text.txt"
    assert (found / sent.data.source).read_bytes() == text.read_bytes()


@pytest.mark.parametrize("kind", sorted({*DATASETS} - WITHOUT_FILES))
def test_every_kind_with_files_is_sent(tmp_path, labeled, image_folder, kind):
    """A new kind of dataset needs a row here."""
    text = tmp_path / "text.md"
    text.write_text("words\n")
    paths = {"arrays": labeled, "images": image_folder[0], "text": text}
    sent = outgoing(paths[kind], tmp_path / "scratch")
    assert sent.data.files in sent.paths


def test_data_without_files_travels_by_name(tmp_path):
    sent = outgoing("noise:4", tmp_path / "scratch")
    assert (sent.data.source, sent.data.files, sent.paths) == ("noise:4", None, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "/etc/passwd"},
        {"source": "/etc", "files": "a" * 64},
        {"source": "data/../../x", "files": "a" * 64},
        {"source": "data", "files": "a" * 64, "labels": "../labels.csv"},
        {"source": "noise", "labels": "/etc/passwd"},
        {"source": "data", "files": "a" * 64, "metric": "os:system"},
        {"source": "noise:4", "metric": "unknown"},
        {"source": "noise:4", "trust": True},
    ],
)
def test_a_dataset_that_leaves_the_cache_or_imports_is_refused(fields):
    with pytest.raises(ValueError, match="Data"):
        Data.model_validate({"baselines": {}, **fields})


def test_a_list_that_is_none_is_refused(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(InputError):
        cache.read_list("a" * 64)
    import hashlib

    for content in (b"{}", b"no", b'{"files": {"../x": "%s"}}' % (b"a" * 64)):
        sha256 = hashlib.sha256(content).hexdigest()
        cache.store(sha256, len(content), 0, content)
        with pytest.raises(InputError):
            cache.read_list(sha256)


@pytest.mark.slow
@needs_dask
@pytest.mark.usefixtures("local_workers")
def test_a_dataset_is_sent_once_and_evaluated_once(start_fleet, measuring, net, labeled, tmp_path):
    fleet = start_fleet()
    fleet.join("a")
    result = sweep_fleet(
        [net], out=tmp_path / "s", fleet=fleet.address, data=labeled, batches=[1, 2], **QUICK
    )
    plan = SweepFolder(tmp_path / "s" / "a").plan
    assert plan.quality_metric == "accuracy_top1"
    assert "12 samples" in plan.evaluated_on
    anchor, *groups, _ = measuring.requests
    assert anchor["data"] is None
    for request in groups:
        assert request["data"]["source"].startswith(str(fleet.folder / "a"))
        assert request["data"]["metric"] == "top1"
    again = sweep_fleet(
        [net], out=tmp_path / "t", fleet=fleet.address, data=labeled, batches=[1], **QUICK
    )
    assert result.hosts[0].sent_mib > 0
    assert again.hosts[0].sent_mib == 0


@needs_dask
def test_a_function_as_metric_is_refused_before_anything_is_asked(tmp_path):
    with pytest.raises(InputError, match="my:metric"):
        sweep_fleet(
            ["x"], out=tmp_path / "s", fleet="127.0.0.1:1", data="noise", metric="my:metric"
        )


@needs_dask
@pytest.mark.slow
@pytest.mark.usefixtures("local_workers")
def test_a_host_judges_the_quality_on_its_device(
    start_fleet, real_measuring, net, labeled, tmp_path
):
    """9 of 12 labels are the classes of the network."""
    other = save(tmp_path / "other", convolutional(seed=3))
    fleet = start_fleet()
    fleet.join("a")
    sweep_fleet(
        [net, Variant.load(other.folder)], out=tmp_path / "s", fleet=fleet.address, data=labeled,
        baseline=net, batches=[1, 2], precisions=["f32"], **QUICK,
    )  # fmt: skip
    rows = list(SweepFolder(tmp_path / "s" / "a").measurements())
    assert [m.status for m in rows] == ["ok"] * 4
    judged = {m.trial.variant_name: m for m in rows if "quality_samples" in m.figures}
    assert len([m for m in rows if "quality_samples" in m.figures]) == 2
    assert judged["net"].figures["accuracy_top1"] == pytest.approx(9 / 12)
    assert judged["net"].figures["agreement_top1"] == 1.0
    assert judged["other"].figures["agreement_top1"] < 1.0
    assert {m.evaluated_against for m in rows} == {net.id}
