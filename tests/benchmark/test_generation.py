"""Waves of requests, with a scripted pipeline on a scripted clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.benchmark.generation import TextTimes, ordinary_tokens, run_waves
from ovtool.system.counters import Reading

MS = 1_000_000


class Scripted:
    """Takes a time for all prompts together, and one for each token; keeps the prompts."""

    def __init__(self, prefill_ms, token_ms):
        self.now, self.waves = 0, []
        self.prefill, self.token = int(prefill_ms * MS), int(token_ms * MS)

    def clock(self):
        return self.now

    def run(self, prompts, output_length):
        self.waves.append(list(prompts))
        times = [TextTimes(self.now) for _ in prompts]
        self.now += self.prefill * len(prompts)
        for _ in range(output_length):
            self.now += self.token
            for each in times:
                each.tokens_ns.append(self.now)
        return times


class Idle:
    def __init__(self, scripted):
        self.scripted = scripted

    def read(self):
        self.scripted.now += 5 * MS  # reading takes time, which is in no window
        return Reading(self.scripted.now / 1e9, None, None, None, None, None, None, None, None)


def measured(scripted, concurrency, output_length, seconds, wave_s=10.0):
    draw = iter(np.arange(10_000).reshape(-1, 1)).__next__
    return run_waves(
        scripted, draw, concurrency, output_length, seconds, Idle(scripted), wave_s=wave_s,
        clock=scripted.clock,
    )  # fmt: skip


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(0, 40),
    st.integers(1, 40),
    st.floats(0.01, 1.0),
)
def test_a_window_has_its_tokens_over_its_time(
    concurrency, output_length, prefill_ms, token_ms, seconds
):
    scripted = Scripted(prefill_ms, token_ms)
    recorded = measured(scripted, concurrency, output_length, seconds)
    wave_ms = concurrency * prefill_ms + output_length * token_ms
    assert len(recorded.windows) == len(recorded.texts) == len(recorded.latencies_ms)
    for window, texts in zip(recorded.windows, recorded.texts, strict=True):
        waves = len(texts) / concurrency
        assert waves == int(waves) >= 1
        assert window["seconds"] == pytest.approx(waves * wave_ms / 1000)
        assert window["inferences"] == len(texts)
        for place, (submitted_ms, tokens_ms) in enumerate(texts):
            began = place // concurrency * wave_ms
            assert submitted_ms == pytest.approx(began)
            first = began + concurrency * prefill_ms
            expected = [first + (n + 1) * token_ms for n in range(output_length)]
            assert tokens_ms == pytest.approx(expected)
    assert sum(len(wave) for wave in scripted.waves) == recorded.completed


def test_every_request_has_a_prompt_of_its_own():
    scripted = Scripted(1, 1)
    measured(scripted, 4, 2, 0.2)
    drawn = [int(prompt[0]) for wave in scripted.waves for prompt in wave]
    assert drawn == list(range(len(drawn)))


def test_short_waves_begin_with_one_outside_the_windows_and_fill_windows():
    scripted = Scripted(1, 1)
    recorded = measured(scripted, 2, 8, 0.5, wave_s=0.01)
    assert len(recorded.texts[0]) == 2 * 10  # waves of 10 ms in a window of 100 ms
    in_windows = sum(map(len, recorded.texts))
    assert recorded.completed == in_windows + 2


def test_a_wave_longer_than_the_round_is_a_window():
    recorded = measured(Scripted(500, 100), 3, 5, 0.3)
    assert [w["inferences"] for w in recorded.windows] == [3]
    assert recorded.windows[0]["seconds"] == pytest.approx(2.0)


def test_special_tokens_and_markup_are_not_ordinary():
    vocabulary = [
        ("a", 0),
        ("<s>", 1),
        ("b", 2),
        ("<|user|>", 3),
        ("[MASK]", 4),
        ("c", 5),
        ("z", 9),
    ]
    assert ordinary_tokens(vocabulary, [5], 8).tolist() == [0, 2]
    assert ordinary_tokens([("\n", 0), ("<", 1), (">", 2)], [], 8).tolist() == [0, 1, 2]
    twice = [("\ufffd", 0), ("\ufffd", 1), ("b", 2)]  # bytes that are no text on their own
    assert ordinary_tokens(twice, [], 8).tolist() == [0, 1, 2]


def test_a_tokenizer_of_special_tokens_is_an_error():
    with pytest.raises(ValueError, match="1 ordinary"):
        ordinary_tokens([("a", 0), ("<s>", 1)], [], 8)
