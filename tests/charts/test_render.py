"""The process that draws: what it makes, what it keeps, and how it ends."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ovtool.charts.drawing import Chart
from ovtool.charts.render import Pictures, write_charts
from ovtool.core import files
from ovtool.core.errors import OvtoolError

DOT = {"data": {"values": [{"a": 1, "b": 2}]}, "mark": "point", "encoding": {"x": {"field": "a"}}}


def chart(name="dot", spec=DOT):
    return Chart(name, "A dot", "It is one.", spec)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return files.user_folder()


def library():
    with Pictures() as pictures:
        pictures.prepare()
        return pictures.library()


def test_charts_are_written_with_titles_and_captions(tmp_path):
    svg, png = write_charts([chart()], tmp_path / "out")
    assert ">A dot<" in svg.read_text()
    assert ">It is one.<" in svg.read_text()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dot.png", "dot.svg"]


@pytest.mark.slow
def test_the_library_may_stand_in_a_page_and_is_kept(cache):
    made = library()
    assert "vegaEmbed" in made
    assert "</script" not in made
    assert "<!--" not in made
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-9])
    assert library() == made
    assert kept.read_bytes() == whole


@pytest.mark.slow
def test_without_a_place_to_keep_it_the_library_is_made_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "vegaEmbed" in library()


@pytest.mark.skipif(sys.platform == "win32", reason="signals end processes on POSIX alone")
@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_was_ended_is_told_in_one_line(tmp_path, which):
    with Pictures() as pictures:
        pictures.draw([chart()])
        pictures.write(tmp_path / "out")
        os.kill(pictures._processes[which].pid, signal.SIGKILL)
        pictures._processes[which].wait()
        pictures.draw([chart("second")])
        with pytest.raises(OvtoolError, match="draws second was ended by signal 9"):
            pictures.write(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dot.png", "dot.svg"]


def test_a_chart_that_cannot_be_drawn_is_a_bug_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="drawing wrong failed"):
        write_charts([chart("wrong", {"mark": 7})], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_lies_in_the_current_folder_is_not_run(tmp_path, monkeypatch):
    for name in ("vl_convert", "json", "ovtool"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran what lay here')")
    monkeypatch.chdir(tmp_path)
    assert len(write_charts([chart()], tmp_path / "out")) == 2


def test_its_folder_goes_with_it():
    with Pictures() as pictures:
        folder = pictures._folder
        assert folder.is_dir()
    assert not folder.exists()
    assert all(process.poll() is not None for process in pictures._processes)


def test_what_was_started_ends_when_the_rest_cannot_be(monkeypatch):
    started, real = [], subprocess.Popen

    def second_fails(command, **options):
        if started:
            raise OSError(errno.EAGAIN, "no more processes")
        started.append(real(command, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(OSError, match="no more"), Pictures():
        pass
    assert started[0].poll() is not None
    assert not Path(started[0].args[-1]).exists()
