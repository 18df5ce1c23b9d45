"""Grouped notes of measurements, and notes on speed-ups and progress."""

from ovtool.core.notes import Note
from ovtool.results.table import load_results
from tests.helpers import sweeps


def test_unknown_baseline_gives_note_with_variants(tmp_path):
    trials = [t for t in sweeps.trials(batches=(1,)) if t.precision == "default"]
    table = load_results([sweeps.make(tmp_path / "s", [sweeps.measure(t) for t in trials])])
    assert table.rows["speedup_f32_x"].isna().all()
    assert table.rows["speedup_default_x"].notna().all()
    (note,) = table.notes
    assert note.id == "no-speedup-f32"
    assert note.evidence == "fp32, int8, int8-weights"


def test_notes_with_different_evidence_stay_separate(tmp_path):
    measurements = [
        sweeps.measure(t, notes=(Note("layers", "precision", "50 bf16"),))
        if t.precision == "default"
        else sweeps.measure(t, notes=(Note("layers", "precision", "50 f32"),))
        for t in sweeps.trials(batches=(1,))
    ]
    notes = load_results([sweeps.make(tmp_path / "s", measurements)]).notes
    f32 = next(n for n in notes if n.evidence.startswith("50 f32"))
    assert "int8" not in f32.evidence
    assert len(notes) == 2


def test_equal_notes_are_one_note(tmp_path):
    note = Note("noise", "it was noisy", "12%")
    measurements = [sweeps.measure(t, notes=(note,)) for t in sweeps.trials(batches=(1,))]
    notes = load_results([sweeps.make(tmp_path / "s", measurements)]).notes
    assert [n.id for n in notes] == ["noise"]
    assert "more" in notes[0].evidence


def test_evidence_of_every_trial_is_shown_by_examples(tmp_path):
    measurements = [
        sweeps.measure(
            trial, notes=(Note("seen", "", f"{index} times", "look"), Note("all", "", "equal"))
        )
        for index, trial in enumerate(sweeps.trials())
    ]
    folder = sweeps.make(tmp_path / "s", measurements)
    notes = {n.id: n for n in load_results([folder]).notes}
    first = sweeps.trials()[0].label
    assert notes["seen"].evidence.startswith(f"{first}: 0 times; ")
    assert notes["seen"].evidence.endswith(" and 29 more")
    assert notes["seen"].remedy == "look"
    assert notes["all"].evidence.startswith(f"equal; {first}; ")
