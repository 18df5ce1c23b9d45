"""The processes that draw: their pictures, their cache and their end."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from ovtool.charts import render
from ovtool.charts.drawing import Chart
from ovtool.charts.render import ChartRenderer, write_charts
from ovtool.core import places, steps
from ovtool.core.errors import OvtoolError

DOT = {"data": {"values": [{"a": 1, "b": 2}]}, "mark": "point", "encoding": {"x": {"field": "a"}}}
SCRIPT = """
import time
from pathlib import Path
from ovtool.charts.drawing import Chart
from ovtool.charts.render import ChartRenderer

with ChartRenderer() as renderer:
    renderer.draw([Chart("dot", "A dot", "", {spec})])
    renderer.write(Path({out!r}))
    print("ready", flush=True)
    time.sleep(60)
"""


def chart(name="dot", spec=DOT):
    return Chart(name, "A dot", "Its caption.", spec)


def workers():
    """The processes of this process that draw."""
    children = psutil.Process().children()
    return [child for child in children if "ovtool.charts.render" in " ".join(child.cmdline())]


def draw(renderer, name, folder):
    renderer.draw([chart(name)])
    return renderer.write(folder)


def wait_for_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return places.user_folder()


def library():
    with ChartRenderer(1) as renderer:
        renderer.prepare_library()
        return renderer.library()


@pytest.mark.slow
def test_charts_are_written_with_titles_and_captions(tmp_path):
    svg, png = write_charts([chart()], tmp_path / "out")
    assert ">A dot<" in svg.read_text()
    assert ">Its caption.<" in svg.read_text()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dot.png", "dot.svg"]


def test_no_charts_start_no_process(tmp_path, monkeypatch):
    monkeypatch.delattr(ChartRenderer, "__enter__")
    assert write_charts([], tmp_path / "out") == []


@pytest.mark.slow
def test_library_is_safe_in_a_page_and_damage_to_its_cache_is_repaired(cache):
    script = library()
    assert "vegaEmbed" in script
    assert "</script" not in script
    assert "<!--" not in script
    (cached,) = cache.iterdir()
    content = cached.read_bytes()
    cached.write_bytes(content[:-9])
    assert library() == script
    assert cached.read_bytes() == content


@pytest.mark.slow
def test_library_is_available_without_a_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "vegaEmbed" in library()


@pytest.mark.slow
def test_killed_worker_raises_one_error_and_ends_the_other_worker(tmp_path):
    with ChartRenderer() as renderer:
        draw(renderer, "dot", tmp_path / "out")
        processes = workers()
        assert len(processes) == 2
        processes[0].kill()
        wait_for_end(processes[:1])
        renderer.draw([chart("second"), chart("third")])
        with pytest.raises(OvtoolError, match=r"second|third"):
            renderer.write(tmp_path / "more")
        wait_for_end(processes)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dot.png", "dot.svg"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_stopped_worker_ends_at_the_time_limit(tmp_path, monkeypatch):
    with ChartRenderer(1) as renderer:
        draw(renderer, "dot", tmp_path)
        (process,) = workers()
        process.suspend()
        monkeypatch.setattr(renderer._workers[0], "_timeout_s", 0.5)
        with pytest.raises(OvtoolError, match="second") as caught:
            draw(renderer, "second", tmp_path)
        assert steps.STEP_TIMEOUT in caught.value.hint
        wait_for_end([process])


@pytest.mark.slow
def test_only_the_workers_start(tmp_path):
    """A helper process of Python's would be one more thing that can fail."""
    before = set(psutil.Process().children(recursive=True))
    with ChartRenderer() as renderer:
        renderer.draw([chart()])
        assert len(set(psutil.Process().children(recursive=True)) - before) == len(workers()) == 2
        renderer.write(tmp_path)


@pytest.mark.slow
def test_invalid_chart_raises_and_writes_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="wrong"):
        write_charts([chart("wrong", {"mark": 7})], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert workers() == []


@pytest.mark.slow
@pytest.mark.parametrize("names", [("vl_convert", "json", "ovtool"), ("socket", "pickle", "types")])
def test_modules_in_the_current_folder_are_not_imported(tmp_path, monkeypatch, names):
    for name in names:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert len(write_charts([chart()], tmp_path / "out")) == 2


def start_script(tmp_path):
    """A program without a ``__main__`` guard that draws and then sleeps; and its processes."""
    (tmp_path / "script.py").write_text(SCRIPT.format(spec=DOT, out=str(tmp_path / "out")))
    (tmp_path / "temporary").mkdir()
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    )
    assert program.stdout.readline() == "ready\n"
    children = psutil.Process(program.pid).children(recursive=True)
    assert len(children) >= 2
    return program, children


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_signal_leaves_no_process_and_no_file(tmp_path, end):
    program, children = start_script(tmp_path)
    if end == signal.SIGINT:
        os.killpg(program.pid, end)  # as Ctrl-C, to the workers as well
    else:
        program.kill()
    _, errors = program.communicate(timeout=20)
    wait_for_end(children)
    assert list((tmp_path / "temporary").iterdir()) == []
    if end == signal.SIGINT:
        assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1, errors


def test_failed_start_leaves_no_process(monkeypatch):
    start, count = render.ChildProcess, iter(range(2))

    def second_fails(*arguments):
        if next(count):
            raise OSError("no more processes")
        return start(*arguments)

    monkeypatch.setattr(render, "ChildProcess", second_fails)
    with pytest.raises(OSError, match="no more"), ChartRenderer():
        pass
    assert workers() == []
