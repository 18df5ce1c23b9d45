"""The progress interface."""

from ovtool.core.progress import SILENT, Progress


def test_silence_implements_every_method(capfd):
    names = {name for name in vars(Progress) if not name.startswith("_")}
    assert names == {"start", "advance", "note", "close"}
    SILENT.start("task", 3)
    SILENT.advance()
    SILENT.note("text")
    SILENT.close()
    assert capfd.readouterr() == ("", "")
