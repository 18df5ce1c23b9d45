import pytest

from ovtool.core.companions import (
    check_names,
    copy_companions,
    hash_companions,
    verify_companions,
)
from ovtool.core.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.xml").write_text("graph")
    (tmp_path / "more").mkdir()
    return tmp_path


def test_the_files_of_a_folder_have_hashes_without_the_graph(folder):
    hashes = hash_companions(folder, ("model.xml",))
    # printf '{}' | sha256sum
    assert hashes == {
        "tokenizer.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    }
    verify_companions(folder, hashes)


@pytest.mark.parametrize("change", [lambda p: p.unlink(), lambda p: p.write_text("[]")])
def test_a_changed_file_is_named(folder, change):
    hashes = hash_companions(folder, ("model.xml",))
    change(folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        verify_companions(folder, hashes)


def test_copies_are_those_that_are_named(folder, tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    copy_companions(folder, ["tokenizer.json"])(target)
    assert [p.name for p in target.iterdir()] == ["tokenizer.json"]
    with pytest.raises(InputError, match="absent"):
        copy_companions(folder, ["absent.json"])(target)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", ".ovtool", "", "a\\b", "..", "a\n"])
def test_names_outside_of_the_folder_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        check_names([name])


def test_names_of_tokenizers_are_accepted():
    check_names(["openvino_tokenizer.xml", "vocab.json", "tokenizer.model.v3", "special-1.json"])
