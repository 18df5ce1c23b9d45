"""The worker process of a text generator: ``python -m ovtool.benchmark.generation_worker``.

It runs ``openvino_genai`` without torch.  Each public method of :class:`GenerationWorker` handles a
request, as for :mod:`ovtool.benchmark.worker`.  ContinuousBatchingPipeline runs every concurrency,
so that the rows of a sweep are comparable; an NPU, which takes one request at a time, has
LLMPipeline.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov  # noqa: TID253 - only this process imports it
import openvino_genai  # noqa: TID253 - only this process imports it

from ovtool.benchmark import generation
from ovtool.benchmark.generation import Arrivals, PausableClock, Step, TextLoad, TextTimes
from ovtool.benchmark.resources import Resources
from ovtool.core.device_names import kind_of
from ovtool.core.units import mib
from ovtool.system import child_process
from ovtool.system.counters import Counters
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENIZER_FILE = "tokenizer.json"
_LOGITS = "logits"
_BATCH_LIMIT = 256
"""Requests that ContinuousBatchingPipeline schedules together by default."""
_READ_BACK = ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION", "INFERENCE_NUM_THREADS")


@dataclass(slots=True, eq=False)
class _Request:
    """A request of ContinuousBatchingPipeline, its number of tokens, and their times so far."""

    handle: Any
    output_length: int
    times: TextTimes


class ContinuousPipeline:
    """Requests in flight together, by ContinuousBatchingPipeline without its prefix cache."""

    def __init__(
        self,
        folder: str,
        device: str,
        properties: dict[str, str],
        limit: int,
        clock: PausableClock,
    ) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False
        scheduler.max_num_seqs = max(_BATCH_LIMIT, limit)
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduler, device, properties
        )
        self._clock = clock
        self._next_id = 0
        self._waiting: list[_Request] = []
        self._generating: list[_Request] = []

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._pipeline.get_tokenizer()

    @property
    def in_flight(self) -> int:
        """Number of requests; see :class:`TextPipeline`."""
        return len(self._waiting) + len(self._generating)

    def submit(self, prompt: NDArray[np.int64], output_length: int, submitted_ns: int) -> None:
        """Add a request; see :class:`TextPipeline`."""
        handle = self._pipeline.add_request(
            self._next_id, ov.Tensor(prompt[None]), greedy(output_length)
        )
        self._next_id += 1
        self._waiting.append(_Request(handle, output_length, TextTimes(submitted_ns)))

    def step(self) -> Step:
        """Run a step; see :class:`TextPipeline`.

        A step gives a request one token at most.  A request that has all its tokens in as many
        steps from its first one on therefore got one in each of them, and its tokens are read at
        its end only: reading each of them takes several percent of the step of a small model.

        Raises:
            RuntimeError: A request ended or waited before it had its tokens.
        """
        if not self._pipeline.has_non_finished_requests():
            raise RuntimeError(_INTERRUPTED)
        self._pipeline.step()
        now = self._clock()
        started = [each for each in self._waiting if each.handle.can_read()]
        if started:
            self._generating += started
            self._waiting = [each for each in self._waiting if each not in started]
        finished, tokens = [], len(self._generating)
        for request in self._generating:
            request.times.tokens_ns.append(now)
            if len(request.times.tokens_ns) == request.output_length:
                _require_finished(request.handle, request.output_length)
                finished.append(request)
        if finished:
            self._generating = [each for each in self._generating if each not in finished]
        return Step(tokens, [each.times for each in finished])


class SinglePipeline:
    """One request at a time, by LLMPipeline with a streamer that reads the clock."""

    def __init__(
        self, folder: str, device: str, properties: dict[str, str], clock: PausableClock
    ) -> None:
        self._pipeline = openvino_genai.LLMPipeline(folder, device, **properties)
        self._clock = clock
        self._queue: deque[tuple[NDArray[np.int64], int, TextTimes]] = deque()

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._pipeline.get_tokenizer()

    @property
    def in_flight(self) -> int:
        """Number of requests; see :class:`TextPipeline`."""
        return len(self._queue)

    def submit(self, prompt: NDArray[np.int64], output_length: int, submitted_ns: int) -> None:
        """Add a request; see :class:`TextPipeline`."""
        self._queue.append((prompt, output_length, TextTimes(submitted_ns)))

    def step(self) -> Step:
        """Run the request that waits longest to its end; see :class:`TextPipeline`.

        Raises:
            RuntimeError: It ended before it had its tokens.
        """
        prompt, output_length, times = self._queue.popleft()
        tensor, mask = ov.Tensor(prompt[None]), ov.Tensor(np.ones_like(prompt[None]))
        inputs = openvino_genai.TokenizedInputs(tensor, mask)
        streamer = _TokenTimes(self._clock, times.tokens_ns)
        self._pipeline.generate(inputs, greedy(output_length), streamer)
        if len(times.tokens_ns) != output_length:
            count = len(times.tokens_ns)
            raise RuntimeError(f"a request ended after {count} of {output_length} tokens")
        return Step(output_length, [times])


class _TokenTimes(openvino_genai.StreamerBase):  # type: ignore[misc] # untyped
    """Reads the clock at each token."""

    def __init__(self, clock: PausableClock, tokens_ns: list[int]) -> None:
        super().__init__()
        self._clock, self._tokens_ns = clock, tokens_ns

    def write(self, token: int | list[int]) -> Any:
        """Receive a token, or several."""
        count = len(token) if isinstance(token, list) else 1
        self._tokens_ns += [self._clock()] * count
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Receive the end."""


_INTERRUPTED = "the pipeline interrupted a request, as without memory for its cache"


def _require_finished(handle: Any, output_length: int) -> None:
    """Check that a request has all its tokens now.

    Raises:
        RuntimeError: It waited between two tokens, so that their times are not known.
    """
    finished = handle.get_status() == openvino_genai.GenerationStatus.FINISHED
    count = sum(len(each.generated_ids) for each in handle.read_all()) if finished else 0
    if count != output_length:
        raise RuntimeError(_INTERRUPTED)


def greedy(output_length: int) -> Any:
    """Return the settings of a greedy generation of exactly so many tokens."""
    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens = settings.min_new_tokens = output_length
    settings.ignore_eos, settings.do_sample = True, False
    return settings


class GenerationWorker:
    """One text generator and its requests."""

    def __init__(self) -> None:
        self.core = ov.Core()
        self.resources = Resources()
        self.pipeline: Any = None
        self.counters: Any = None
        self.job: dict[str, Any] = {}
        self.tokens: Any = None
        self.random = np.random.default_rng()
        self.phases: dict[str, float | None] = {}
        self.clock = PausableClock()
        self.load: TextLoad | None = None

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load and compile, run the first request, warm up."""
        self.job, device = request, request["device"]
        self.core.get_versions(device)  # loads the plugins, which is not part of compiling
        self.resources.end_phase()
        logits = self._read_model()
        self.phases["rss_load_mib"] = self.resources.end_phase()
        started = time.perf_counter_ns()
        self.pipeline = self._make_pipeline(request["cache"] or "")
        reply: dict[str, Any] = {"compile_ms": (time.perf_counter_ns() - started) / 1e6}
        self.phases["rss_compile_mib"] = self.resources.end_phase()
        self.tokens = self._ordinary_tokens(logits)
        self.random = np.random.default_rng(request["seed"])
        self.counters = Counters()
        self.resources.open_meter(device)
        lengths = request["generation"]
        self._run_request(1)
        self.phases["rss_prefill_mib"] = self.resources.end_phase()
        first = self._run_request(lengths["output_length"])
        reply["first_inference_ms"] = (first.tokens_ns[-1] - first.submitted_ns) / 1e6
        arrivals = Arrivals(lengths["concurrency"], request["rate"])
        if request["warm_up"] and arrivals != Arrivals(None):
            self._start(arrivals)
        return reply | self._describe()

    def _read_model(self) -> int:
        """Read the graph as the pipeline will; return its number of tokens."""
        model = self.core.read_model(self.job["xml"])
        return int(model.output(_LOGITS).get_partial_shape()[-1].get_length())

    def _make_pipeline(self, cache: str) -> Any:
        folder, device = str(Path(self.job["xml"]).parent), self.job["device"]
        properties = dict(self.job["properties"]) | {"CACHE_DIR": cache}
        if kind_of(device) == "NPU":
            return SinglePipeline(folder, device, properties, self.clock)
        limit = self.job["generation"]["concurrency"] or 0
        return ContinuousPipeline(folder, device, properties, limit, self.clock)

    def _ordinary_tokens(self, logits: int) -> NDArray[np.int64]:
        tokenizer = self.pipeline.tokenizer()
        special = [
            tokenizer.get_bos_token_id(),
            tokenizer.get_eos_token_id(),
            tokenizer.get_pad_token_id(),
        ]
        path = Path(self.job["xml"]).parent / TOKENIZER_FILE
        if path.is_file():
            added = json.loads(path.read_text("utf-8")).get("added_tokens", [])
            special += [int(token["id"]) for token in added]
        vocabulary = [
            (text.decode("utf-8", "replace") if isinstance(text, bytes) else text, number)
            for text, number in tokenizer.get_vocab().items()
        ]
        return generation.ordinary_tokens(vocabulary, special, logits)

    def _draw(self) -> NDArray[np.int64]:
        length = self.job["generation"]["prompt_length"]
        drawn: NDArray[np.int64] = self.random.choice(self.tokens, length)
        return drawn

    def _run_request(self, output_length: int) -> TextTimes:
        """Run a request before there is a load."""
        return generation.run_request(self.pipeline, self.clock, self._draw(), output_length)

    def _start(self, arrivals: Arrivals) -> TextLoad:
        """Start a load, after the end of another one."""
        if self.load is not None:
            self.load.drain()
        length, seed = self.job["generation"]["output_length"], self.job["seed"]
        self.load = TextLoad(self.pipeline, self.clock, self._draw, length, arrivals, seed=seed)
        self.load.start()
        return self.load

    def _describe(self) -> dict[str, Any]:
        quota = self.resources.host.cgroup_cpus()
        return {
            "pipeline": type(self.pipeline).__name__,
            "ordinary_tokens": len(self.tokens),
            "usable_cpus": self.resources.host.usable_cpus(),
            "quota_cpus": None if isinstance(quota, Unknown) else quota,
            **self._read_back(),
        }

    def _read_back(self) -> dict[str, str | None]:
        """Return properties of an empty model that is compiled with those of the pipeline.

        The pipeline does not show its compiled model.
        """
        parameter = ov.opset13.parameter([1], np.float32)
        model = ov.Model([ov.opset13.relu(parameter)], [parameter])
        settings = self.core.read_model(self.job["xml"]).get_rt_info()
        if "runtime_options" in settings:
            model.set_rt_info(settings["runtime_options"].value, "runtime_options")
        compiled = self.core.compile_model(model, self.job["device"], self.job["properties"])
        known = set(compiled.get_property("SUPPORTED_PROPERTIES"))
        return {
            name: _text(compiled.get_property(name)) if name in known else None
            for name in _READ_BACK
        }

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Measure a round."""
        rate = request["rate"]
        concurrency = request["concurrency"] or self.job["generation"]["concurrency"]
        arrivals = Arrivals(None if rate else concurrency, rate)
        load = self.load
        if load is None or load.arrivals != arrivals:
            load = self._start(arrivals)
        start = self.resources.start_round()
        recorded = load.measure(request["seconds"], self.counters.read)
        reply = recorded.to_json() | self.resources.end_round(start, recorded.completed)
        decode = self.resources.end_phase()
        before = self.phases.get("rss_decode_mib")
        self.phases["rss_decode_mib"] = decode and max(decode, before or 0.0)
        return reply | {"phases_mib": {n: v for n, v in self.phases.items() if v is not None}}

    def save_cache(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load again, into a model cache for another process to load."""
        folder = Path(request["folder"])
        self._make_pipeline(str(folder))
        written = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
        return {"blob_mib": mib(sum(written)) if written else None}

    def layers(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - without arguments
        """Return no layers: the pipeline does not show its executed graph."""
        return {"layers": None}


def _text(value: Any) -> str:
    return str(value.get_type_name()) if isinstance(value, ov.Type) else str(value)


if __name__ == "__main__":
    child_process.serve(GenerationWorker)
