"""Texts as data: encodings, tokens, windows, lines and parts."""

import numpy as np
import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.ports import Port
from ovtool.datasets import text as text_data
from ovtool.datasets.registry import check_reference, load_samples
from ovtool.datasets.text import MIN_TOKENS, TextSamples, read_text
from ovtool.models.convert import convert
from tests.helpers import graphs
from tests.helpers.decoders import write_openvino_folder

PLAIN = "the quick brown fox jumps over the lazy dog. "


@pytest.mark.parametrize(
    ("content", "evidence"),
    [
        (PLAIN.encode() + b"caf\xe9", "0xe9"),
        (("\ufeff" + PLAIN).encode("utf-16-le"), "UTF-16"),
        (("\ufeff" + PLAIN).encode("utf-16-be"), "UTF-16"),
        (PLAIN.encode("utf-16-le"), "not a text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text"),
        (b"PK\x03\x04abc", "not a text"),
        (b"", "empty"),
        (b" \n\t ", "empty"),
    ],
)
def test_what_is_no_text_in_utf_8_is_named(tmp_path, content, evidence):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=evidence) as raised:
        read_text(path)
    assert str(path) in str(raised.value)
    assert "\n" not in raised.value.full_text.strip() or len(raised.value.full_text) < 400


def test_the_place_of_another_encoding_is_shown(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("zwölf".encode("latin-1"))
    with pytest.raises(InputError, match="position 2") as raised:
        read_text(path)
    assert "zwölf" in str(raised.value)
    assert "latin1" in raised.value.hint


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_text_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "text.txt").write_text("naïve, 日本語", encoding=encoding)
    assert read_text(tmp_path / "text.txt") == "naïve, 日本語"


@pytest.mark.parametrize("name", ["a.txt", "a.TXT", "a.md", "a.cor"])
def test_the_kind_of_a_text_is_that_of_its_suffix(tmp_path, name):
    (tmp_path / name).write_text("a")
    assert check_reference(str(tmp_path / name)) == "text"
    with pytest.raises(InputError, match="labels"):
        check_reference(str(tmp_path / name), labels=str(tmp_path))


def test_a_model_without_a_tokenizer_reads_no_text(tmp_path):
    made = graphs.save(tmp_path / "v", graphs.convolutional())
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match="tokenizer"):
        load_samples(str(tmp_path / "a.txt"), made.record.inputs, None, folder=made.folder)


@pytest.fixture
def generator(tmp_path, monkeypatch):
    """A text generator, whose tokens are the letters of a text."""
    source = write_openvino_folder(tmp_path / "source")
    made = convert(source, out=tmp_path / "v")

    def tokenize(folder, texts):
        ids = np.array([[ord(letter) - ord("a") for letter in text] for text in texts])
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    monkeypatch.setattr(text_data, "tokenize", tokenize)
    return made


def load(generator, tmp_path, text, **options):
    (tmp_path / "a.txt").write_text(text)
    inputs, folder = generator.record.inputs, generator.folder
    return load_samples(str(tmp_path / "a.txt"), inputs, None, folder=folder, **options)


@pytest.mark.slow
def test_windows_are_consecutive_tokens_with_masks_and_positions(generator, tmp_path):
    letters = "".join(chr(ord("a") + i * i % 26) for i in range(800))
    samples = load(generator, tmp_path, letters)
    assert isinstance(samples, TextSamples)
    assert len(samples) == 3  # 256 tokens each, the rest is left out
    assert not samples.labelled
    seen = []
    for sample in samples:
        shapes = {name: array.shape for name, array in sample.inputs.items()}
        assert shapes == {
            "input_ids": (256,), "attention_mask": (256,), "position_ids": (256,), "beam_idx": (),
        }  # fmt: skip
        assert (sample.inputs["attention_mask"] == 1).all()
        assert (sample.inputs["position_ids"] == np.arange(256)).all()
        assert sample.inputs["beam_idx"] == 0
        assert sample.inputs["beam_idx"].dtype == np.int32
        seen += sample.inputs["input_ids"].tolist()
    assert seen == [ord(letter) - ord("a") for letter in letters[:768]]


@pytest.mark.slow
def test_parts_of_a_text_share_no_token_and_cover_it(generator, tmp_path):
    letters = "".join(chr(ord("a") + i * 7 % 26) for i in range(1000))
    parts = [load(generator, tmp_path, letters, part=f"{n}/3").tokens for n in (1, 2, 3)]
    assert np.concatenate(parts).tolist() == load(generator, tmp_path, letters).tokens.tolist()
    assert {len(part) for part in parts} <= {333, 334}
    assert len(load(generator, tmp_path, letters, limit=2)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("count", "options"), [(MIN_TOKENS - 1, {}), (500, {"part": "1/2"})])
def test_a_text_of_few_tokens_is_an_error(generator, tmp_path, count, options):
    expected = count // (2 if options else 1)
    with pytest.raises(InputError, match=f"{expected} tokens"):
        load(generator, tmp_path, "a" * count, **options)


@pytest.mark.slow
def test_a_window_has_no_more_tokens_than_the_model_has_positions(generator, tmp_path):
    (generator.folder / "config.json").write_text('{"n_positions": 100}')
    assert load(generator, tmp_path, "a" * 300).window == 100


@pytest.mark.slow
def test_the_tokens_are_those_of_the_tokenizer(tmp_path):
    pytest.importorskip("openvino_tokenizers", reason="ovtool[llm] is not installed")
    import transformers

    from ovtool.models.language.tokenizer import save_tokenizer as save_graphs
    from tests.helpers.language_models import save_tokenizer

    folder = tmp_path / "net"
    write_openvino_folder(folder)
    (folder / "config.json").unlink()
    save_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    save_graphs(tokenizer, folder, detokenizer=True)
    made = convert(folder, out=tmp_path / "v")
    samples = load(made, tmp_path, PLAIN * 60)
    assert samples.tokens.tolist() == tokenizer(PLAIN * 60)["input_ids"]
    with pytest.raises(InputError, match="tokens"):
        load(made, tmp_path, "ten words are too few to say much of it")


@pytest.mark.slow
def test_the_articles_of_a_package_are_read_as_latin_1(generator, tmp_path, monkeypatch):
    folder = tmp_path / "gensim" / "test" / "test_data"
    folder.mkdir(parents=True)
    texts = []
    real = text_data.tokenize
    monkeypatch.setattr(
        text_data, "tokenize", lambda folder, given: texts.extend(given) or real(folder, given)
    )
    monkeypatch.setattr(text_data, "package_folder", lambda *_: tmp_path / "gensim")
    for name in ("lee", "lee_background"):
        (folder / f"{name}.cor").write_bytes(b"\xa3" + name.encode() + b"a" * 300)
    inputs = generator.record.inputs
    for name in ("lee", "lee-background"):
        load_samples(f"sample:{name}", inputs, None, folder=generator.folder)
    assert [text.strip("a") for text in texts] == ["£lee", "£lee_background"]
    (folder / "lee.cor").unlink()
    with pytest.raises(MissingDependencyError) as raised:
        load_samples("sample:lee", inputs, None, folder=generator.folder)
    assert "gensim==" in raised.value.hint


def test_lines_of_an_encoder_are_padded_at_the_end(tmp_path, monkeypatch):
    ids = np.array([[2, 5, 6, 3], [2, 7, 3, 0]])

    def tokenize(folder, texts):
        assert texts == ["one line", "two"]
        return {"input_ids": ids, "attention_mask": (ids > 0).astype(int)}

    monkeypatch.setattr(text_data, "tokenize", tokenize)
    (tmp_path / "openvino_tokenizer.xml").write_text("")
    (tmp_path / "a.txt").write_text("one line\n\n  two \n")
    open_ports = tuple(
        Port(name=name, shape=(-1, -1), dtype="i64", layout="NC")
        for name in ("input_ids", "attention_mask")
    )
    first, second = load_samples(str(tmp_path / "a.txt"), open_ports, None, folder=tmp_path)
    assert first.inputs["input_ids"].tolist() == [2, 5, 6, 3]
    assert second.inputs["attention_mask"].tolist() == [1, 1, 1, 0]
    fixed = tuple(port.model_copy(update={"shape": (-1, 6)}) for port in open_ports)
    _, padded = load_samples(str(tmp_path / "a.txt"), fixed, None, folder=tmp_path)
    assert padded.inputs["input_ids"].tolist() == [2, 7, 3, 0, 0, 0]
    other = (*open_ports, Port(name="pixels", shape=(-1, 3), dtype="f32", layout="NC"))
    with pytest.raises(InputError, match="pixels"):
        load_samples(str(tmp_path / "a.txt"), other, None, folder=tmp_path)
