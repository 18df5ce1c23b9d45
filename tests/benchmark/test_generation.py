"""The load of a text generator, with a scripted pipeline on a scripted clock."""

import itertools
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.benchmark.fake import FakeTextPipeline
from ovtool.benchmark.generation import (
    Arrivals,
    PausableClock,
    TextLoad,
    ordinary_tokens,
    run_request,
)


class Watched(FakeTextPipeline):
    """Keeps the prompts and the number of requests in flight before each step."""

    def __init__(self, base_ms):
        super().__init__(base_ms)
        self.clock = PausableClock(self.now)
        self.prompts, self.flying, self.lengths = [], [], []

    def submit(self, prompt, output_length, submitted_ns):
        self.prompts.append(int(prompt[0]))
        self.lengths.append(output_length)
        super().submit(prompt, output_length, submitted_ns)

    def step(self):
        self.flying.append(self.in_flight)
        return super().step()

    def read(self):
        self.sleep(0.005)  # reading takes time, which is in no window
        return super().read()


def load_of(pipeline, output_length, concurrency=None, rate=None, seed=0):
    draw = iter(np.arange(1_000_000).reshape(-1, 1)).__next__
    return TextLoad(
        pipeline, pipeline.clock, draw, output_length, Arrivals(concurrency, rate), seed=seed,
        sleep=pipeline.sleep,
    )  # fmt: skip


def started(pipeline, *values, **fields):
    load = load_of(pipeline, *values, **fields)
    load.start()
    return load


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 40), st.floats(0.01, 1.0))
def test_windows_have_all_their_tokens_and_begin_and_end_with_a_request(
    concurrency, output_length, base_ms, seconds
):
    pipeline = Watched(base_ms)
    load = started(pipeline, output_length, concurrency)
    for _ in range(2):
        recorded = load.measure(seconds, pipeline.read)
        counts = {len(recorded.windows), len(recorded.texts), len(recorded.tokens)}
        assert counts == {len(recorded.latencies_ms)}
        for window, texts, tokens in zip(
            recorded.windows, recorded.texts, recorded.tokens, strict=True
        ):
            end_ms = window["seconds"] * 1000
            assert max(tokens_ms[-1] for _, tokens_ms in texts) == pytest.approx(end_ms)
            assert window["inferences"] == len(texts) >= 1
            assert {len(tokens_ms) for _, tokens_ms in texts} == {output_length}
            # Every step has a token for each request in flight.
            own = sum(ms > 1e-6 for _, tokens_ms in texts for ms in tokens_ms)
            assert own <= tokens <= own + (concurrency - 1) * (output_length - 1)


@given(st.integers(1, 9), st.integers(2, 12))
def test_a_request_begins_when_one_ends(concurrency, output_length):
    pipeline = Watched(2)
    load = started(pipeline, output_length, concurrency)
    load.measure(0.5, pipeline.read)
    load.measure(0.2, pipeline.read)  # the requests in flight go on
    assert set(pipeline.flying) == {concurrency}
    assert set(pipeline.lengths[concurrency:]) == {output_length}
    load.drain()
    assert pipeline.in_flight == 0


def test_requests_end_one_after_another_and_not_in_waves():
    # In each step, one of four requests reads its prompt (2 ms), and three have a token (2 ms).
    pipeline = Watched(2)
    load = started(pipeline, 4, 4)
    recorded = load.measure(1.0, pipeline.read)
    requests = [each for window in recorded.texts for each in window]
    assert {round(tokens[0] - at, 6) for at, tokens in requests} == {4.0}
    assert {round((tokens[-1] - tokens[0]) / 3, 6) for _, tokens in requests} == {4.0}
    rates = [n / w["seconds"] for n, w in zip(recorded.tokens, recorded.windows, strict=True)]
    assert rates == pytest.approx([1000.0] * len(rates))


def test_a_request_goes_on_after_the_pause_between_rounds():
    pipeline = Watched(100)
    load = started(pipeline, 10, 5)
    for _ in range(8):
        recorded = load.measure(0.05, pipeline.read)
        assert [len(window) for window in recorded.texts] == [1]
        ((submitted_ms, tokens_ms),) = recorded.texts[0]
        gaps = np.diff(tokens_ms)
        # Two steps of the ten have another prompt, of 100 ms: every second one.
        assert sorted(gaps.round(6)) == [100.0] * 5 + [200.0] * 4
        assert submitted_ms < 0
        pipeline.sleep(30)  # other trials run


def test_every_request_has_a_prompt_of_its_own():
    pipeline = Watched(1)
    started(pipeline, 2, 4).measure(0.2, pipeline.read)
    assert pipeline.prompts == list(range(len(pipeline.prompts)))


def test_short_requests_have_a_lead_in():
    pipeline = Watched(1)
    recorded = started(pipeline, 8, 2).measure(0.5, pipeline.read)
    assert recorded.completed > sum(map(len, recorded.texts))
    assert all(w["seconds"] >= 0.1 for w in recorded.windows[:-1])


def test_a_request_longer_than_the_round_is_a_window():
    pipeline = Watched(500)
    recorded = started(pipeline, 5, 1).measure(0.3, pipeline.read)
    assert [w["inferences"] for w in recorded.windows] == [1]
    assert recorded.windows[0]["seconds"] == pytest.approx(2.5)
    assert (recorded.completed, recorded.tokens) == (1, [5])


def test_requests_arrive_on_their_own_and_wait():
    # A request takes 4 x 10 ms alone; a step reads all prompts that wait.
    pipeline = Watched(10)
    load = started(pipeline, 4, rate=20.0)
    rounds = [load.measure(5.0, pipeline.read) for _ in range(12)]
    requests = [each for r in rounds for window in r.texts for each in window]
    seconds = sum(w["seconds"] for r in rounds for w in r.windows)
    # 1200 arrivals have a standard deviation of 35.
    assert len(requests) / seconds == pytest.approx(20.0, rel=0.1)
    waits = [tokens[0] - at for at, tokens in requests]
    assert min(waits) == pytest.approx(10.0)
    assert max(waits) > 20.0  # arrived during a step, or with another one
    assert len({*pipeline.flying} - {0}) > 2


def test_gaps_between_arrivals_are_exponential():
    class Single(Watched):
        arrivals = ()

        def submit(self, prompt, output_length, submitted_ns):
            self.arrivals = (*self.arrivals, submitted_ns)
            super().submit(prompt, output_length, submitted_ns)

    pipeline = Single(0.1)
    started(pipeline, 1, rate=50.0, seed=3).measure(60.0, pipeline.read)
    gaps = np.diff(pipeline.arrivals) / 1e9
    assert len(gaps) > 2500
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.06)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.08)


@pytest.mark.slow
def test_the_wait_grows_above_the_capacity():
    pipeline = Watched(10)  # one prompt in 10 ms: a step of n prompts takes n x 10 ms
    load = started(pipeline, 2, rate=200.0)
    waits = []
    for _ in range(6):
        recorded = load.measure(1.0, pipeline.read)
        waits.append(mean(t[0] - at for window in recorded.texts for at, t in window))
    assert all(later > earlier for earlier, later in itertools.pairwise(waits))
    assert waits[-1] > 5 * waits[0]


def test_steps_go_on_where_submitting_takes_longer_than_the_gaps():
    class Slow(Watched):
        def submit(self, prompt, output_length, submitted_ns):
            self.sleep(0.001)
            super().submit(prompt, output_length, submitted_ns)

    pipeline = Slow(0.001)
    recorded = started(pipeline, 2, rate=1500.0).measure(0.05, pipeline.read)
    assert recorded.windows


def test_a_paused_clock_stands_still():
    now = itertools.count(0, 10)
    clock = PausableClock(now.__next__)
    assert (clock(), clock()) == (0, 0)
    clock.resume()
    first = clock()
    clock.pause()
    stood = clock()
    assert clock() == stood > first
    clock.resume()
    assert clock() == stood + 10


def test_a_single_request_has_its_times():
    pipeline = Watched(3)
    times = run_request(pipeline, pipeline.clock, np.zeros(1, np.int64), 4)
    assert np.diff([times.submitted_ns, *times.tokens_ns]).tolist() == [3_000_000] * 4


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
