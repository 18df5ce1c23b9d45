"""Baselines of the variants of a sweep, and equal variants."""

from dataclasses import dataclass
from types import SimpleNamespace

from ovtool.core.variant import TRAINING, Step
from ovtool.sweep.variants import _baseline, _drop_equal


@dataclass
class Fake:
    id: str
    steps: tuple
    source: str = "net"

    @property
    def record(self):
        return SimpleNamespace(source=self.source, steps=self.steps)

    @property
    def compressed(self):
        return any(s.method not in TRAINING for s in self.steps)


def step(method, **settings):
    return Step(method=method, settings=settings, seconds=0)


def test_the_baseline_shares_the_longest_first_steps():
    plain, long = Fake("plain", ()), Fake("long", (step("train", epochs=9),))
    short = Fake("short", (step("train", epochs=1),))
    int8 = Fake("int8", (step("train", epochs=9), step("int8")))
    alone = Fake("alone", (step("weights"),))
    other = Fake("other", (step("train", epochs=9), step("int8")), source="another")
    swept = [plain, short, long, int8, alone, other]
    baselines = {v.id: _baseline(v, swept) for v in swept}
    assert baselines == {
        "plain": "plain", "short": "short", "long": "long", "int8": "long", "alone": "plain",
        "other": None,
    }  # fmt: skip
    assert _baseline(int8, [short, int8]) is None  # trained with other settings


def test_equal_variants_are_measured_once_with_a_note():
    notes = []
    progress = SimpleNamespace(note=notes.append)
    first, same, other = (
        SimpleNamespace(id=i, name=n) for i, n in (("1", "a"), ("1", "b"), ("2", "c"))
    )
    assert _drop_equal([first, same, other, first], progress) == [first, other]
    (note,) = notes
    assert {"a", "b"} <= set(note.replace(";", "").split())
