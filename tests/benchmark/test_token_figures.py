"""Times of tokens as figures: values from a table by hand."""

import pytest

from ovtool.benchmark import token_figures
from ovtool.benchmark.session import RawRound, TextRequest
from ovtool.benchmark.windows import HostLoad, select_windows
from ovtool.core.measurement import Window

HOST = HostLoad(cpus=4, usable=4, uses_cpu=True)
SLOW = TextRequest(0.0, (30.0, 50.0, 70.0, 130.0))
QUICK = TextRequest(10.0, (20.0, 30.0, 40.0, 50.0))


def raw(requests, seconds, others=0):
    latencies = tuple(r.tokens_ms[-1] - r.submitted_ms for r in requests)
    window = Window(seconds, len(requests), latencies[0], max(latencies))
    tokens = sum(len(r.tokens_ms) for r in requests) + others
    return RawRound((window,), (latencies,), texts=(tuple(requests),), tokens=(tokens,))


def figures_of(*rounds):
    return token_figures.compute(select_windows(rounds, HOST))


def test_times_of_a_request():
    assert (SLOW.ttft_ms, QUICK.ttft_ms) == (30.0, 10.0)
    assert SLOW.tpot_ms == pytest.approx(100 / 3)
    assert QUICK.tpot_ms == 10.0
    assert SLOW.gaps_ms == (20.0, 20.0, 60.0)
    assert TextRequest(0.0, (5.0,)).tpot_ms is None


def test_tokens_over_wall_time_of_all_windows():
    found = figures_of(raw([SLOW, QUICK], 0.13), raw([QUICK], 0.05, 2), raw([QUICK, QUICK], 0.07))
    assert found.figures["tokens_s"] == pytest.approx(22 / 0.25)
    assert found.by_window["tokens_s"] == pytest.approx([8 / 0.13, 6 / 0.05, 8 / 0.07])
    low, high = (found.figures[f"tokens_s_ci_{end}"] for end in ("low", "high"))
    assert low < 22 / 0.25 < high


def test_quantiles_are_over_all_requests_and_gaps():
    figures = figures_of(raw([SLOW, QUICK], 0.13), raw([QUICK], 0.05)).figures
    assert figures["ttft_ms"] == 10.0
    assert figures["ttft_p99_ms"] == pytest.approx(30.0, rel=0.05)
    assert figures["tpot_ms"] == 10.0
    assert figures["itl_p50_ms"] == 10.0  # of 20, 20, 60 and six times 10
    assert figures["itl_p99_ms"] == pytest.approx(60.0, rel=0.06)
    assert {"ttft_ms_ci_low", "itl_p99_ms_ci_high"} <= figures.keys()


def test_a_single_token_has_no_time_per_output_token():
    figures = figures_of(raw([TextRequest(0.0, (5.0,))], 0.005)).figures
    assert figures["ttft_ms"] == 5.0
    assert {"tpot_ms", "itl_p50_ms", "itl_p99_ms"}.isdisjoint(figures)


def test_only_the_quiet_windows_count():
    busy = {"cpu_s": 0.1, "busy_s": 4.0, "delay_s": 1.0}
    quiet = {"cpu_s": 1.0, "busy_s": 1.0, "delay_s": 0.0}
    rounds = []
    for counters, request in ((quiet, QUICK),) * 3 + ((busy, SLOW),):
        window = Window(1.0, 1, request.tokens_ms[-1], request.tokens_ms[-1], **counters)
        latencies = ((request.tokens_ms[-1],),)
        rounds.append(RawRound((window,), latencies, texts=((request,),), tokens=(4,)))
    assert figures_of(*rounds).figures["ttft_p99_ms"] == 10.0
