"""``ovtool`` itself: its help, shell completion and log."""

import subprocess
import sys

import numpy as np
import pytest

from ovtool.cli import main
from ovtool.cli.main import VERBS
from ovtool.core import files
from ovtool.core.errors import CRASH, EXIT_CODES, OvtoolError
from tests.cli.test_command import COMMANDS, resolve


def plain(text):
    """Return help on one line."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 200])
def test_help_lists_every_verb_on_one_line_and_the_exit_codes(ovtool, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out = ovtool("--help").out
    lines = [plain(line) for line in out.splitlines()]
    for verbs in VERBS.values():
        for verb, summary in verbs.items():
            assert f"{verb} {summary}" in lines
    assert all(f" {code} " in plain(out).partition("Exit codes")[2] for code in EXIT_CODES)


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_help_of_a_verb_shows_its_example(ovtool, words):
    ran = ovtool(*words, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert " ".join(("ovtool", *words)) in plain(ran.out).partition("Example")[2]


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_help_lists_each_option_in_its_panel(ovtool, words):
    panels, panel = {}, ""
    for line in ovtool(*words, "--help").out.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            panel = line.removesuffix(":")
        panels[panel] = [*panels.get(panel, ()), *line.replace(",", " ").split()]
    for parameter in resolve(*words).params:
        is_option = parameter.param_type_name == "option"
        listed = panels[parameter.rich_help_panel if is_option else "Arguments"]
        name = parameter.opts[0] if is_option else (parameter.metavar or parameter.name).upper()
        assert any(name in word for word in listed)


def test_help_shows_defaults_that_depend_on_other_options(ovtool):
    assert "[default: (name of the folder)]" in plain(ovtool("convert", "--help").out)
    assert "[default: (the batch in --shape" in plain(ovtool("sweep", "--help").out)


def test_help_imports_no_verb_and_no_rich():
    program = (
        "import sys; sys.argv = ['ovtool', '--help']\n"
        "from ovtool.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([n for n in sys.modules if n.startswith(('ovtool.cli.commands.', 'rich.'))],"
        " file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stderr.splitlines()[-1] == "[]"


def test_no_verb_shows_the_help(ovtool):
    ran = ovtool()
    assert ran.status == 0
    assert all(verb in ran.out for verbs in VERBS.values() for verb in verbs)
    assert ran.err == ""


def test_shell_completion_lists_the_verbs(ovtool, monkeypatch):
    assert "--install-completion" in ovtool("--help").out
    monkeypatch.setenv("_OVTOOL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ovtool c")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert set(ovtool().out.split()) == {"check", "convert", "compare", "compress", "choose"}


def test_shell_completion_lists_the_options_of_a_verb(ovtool, monkeypatch):
    monkeypatch.setenv("_OVTOOL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ovtool choose sweeps --max-l")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert ovtool().out.split() == ["--max-latency-ms"]


@pytest.mark.slow
def test_library_output_goes_to_the_log_only(ovtool, small, tmp_path):
    log = tmp_path / "new" / "ovtool.log"
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3, 16, 16), np.float32))
    arguments = ["compress", small.folder, "int8", "--data", tmp_path / "x.npz"]
    ran = ovtool("--log", log, *arguments, "--out", tmp_path / "int8")
    assert ran.status == 0
    assert "Statistics collection" in log.read_text(encoding="utf-8")
    assert "Statistics collection" not in ran.out + ran.err
    again = ovtool("--log", tmp_path, *arguments, "--out", tmp_path / "int8")
    assert again.status == 2
    assert len(again.errors) == 2
    assert str(tmp_path) in again.errors[0]


def test_an_error_that_a_library_makes_of_a_signal_is_a_stop(monkeypatch, capsys):
    def app(**_):
        try:
            main._stop(2, None)
        except main.Stopped:
            raise TypeError("Unable to cast Python instance") from None

    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "app", app)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped")


@pytest.mark.parametrize("kept", [False, True])
def test_a_stopped_command_names_what_is_kept(monkeypatch, capsys, tmp_path, kept):
    def app(**_):
        raise main.Stopped(15)

    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(files, "_kept", {})
    if kept:
        files.mark_kept(tmp_path, "3 of 4 trials")
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped")
    assert (f"3 of 4 trials in {tmp_path}" in line) == kept


@pytest.mark.parametrize("error", [KeyError("x\ny"), OSError(9, "closed", "f"), RuntimeError()])
def test_a_bug_has_its_own_exit_code_and_one_line(ovtool, monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("ovtool.compression.registry.list_methods", fail)
    log = tmp_path / "log"
    ran = ovtool("--log", log, "methods")
    assert ran.status == CRASH
    message, hint = ran.errors
    assert type(error).__name__ in message
    assert "cli/commands/methods.py:" in message
    assert "OVTOOL_DEBUG" in hint
    assert all(len(line) <= 100 for line in ran.errors)
    assert "Traceback" not in ran.err
    assert "Traceback" in log.read_text(encoding="utf-8")
    monkeypatch.setenv("OVTOOL_DEBUG", "1")
    assert "Traceback" in ovtool("methods").err


def test_every_error_has_a_documented_exit_code():
    def classes(base):
        return [base, *(c for sub in base.__subclasses__() for c in classes(sub))]

    assert {c.exit_code for c in classes(OvtoolError)} | {0, CRASH} == set(EXIT_CODES)
