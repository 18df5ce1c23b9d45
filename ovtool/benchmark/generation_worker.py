"""The worker process of a text generator: ``python -m ovtool.benchmark.generation_worker``.

It runs ``openvino_genai`` without torch.  Each public method of :class:`GenerationWorker` handles a
request, as for :mod:`ovtool.benchmark.worker`.  ContinuousBatchingPipeline runs every concurrency,
so that the rows of a sweep are comparable; an NPU, which takes one request at a time, has
LLMPipeline.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov  # noqa: TID253 - only this process imports it
import openvino_genai  # noqa: TID253 - only this process imports it

from ovtool.benchmark import generation
from ovtool.benchmark.generation import TextPipeline, TextTimes
from ovtool.benchmark.resources import Resources
from ovtool.core.device_names import kind_of
from ovtool.core.units import mib
from ovtool.system import child_process
from ovtool.system.counters import Counters
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TOKENIZER_FILE = "tokenizer.json"
_LOGITS = "logits"
_BATCH_LIMIT = 256
"""Requests that ContinuousBatchingPipeline schedules together by default."""
_READ_BACK = ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION", "INFERENCE_NUM_THREADS")


class ContinuousPipeline:
    """Requests in flight together, by ContinuousBatchingPipeline without its prefix cache."""

    def __init__(self, folder: str, device: str, properties: dict[str, str], limit: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False
        scheduler.max_num_seqs = max(_BATCH_LIMIT, limit)
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduler, device, properties
        )
        self._next_id = 0

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._pipeline.get_tokenizer()

    def run(self, prompts: Sequence[NDArray[np.int64]], output_length: int) -> list[TextTimes]:
        """Run a wave; see :class:`TextPipeline`.

        A step gives a running request one token at most.  A request that has all its tokens in as
        many steps from its first one on therefore got one in each of them, and its handle is read
        twice only: reading each token takes several percent of the step of a small model.
        """
        clock, settings = time.perf_counter_ns, greedy(output_length)
        tensors = [ov.Tensor(prompt[None]) for prompt in prompts]
        handles, times = [], []
        for tensor in tensors:
            times.append(TextTimes(clock()))
            handles.append(self._pipeline.add_request(self._next_id, tensor, settings))
            self._next_id += 1
        steps_ns: list[int] = []
        waiting = dict(enumerate(handles))
        due: dict[int, list[int]] = {}
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            steps_ns.append(clock())
            step = len(steps_ns)
            for place in [p for p, handle in waiting.items() if handle.can_read()]:
                del waiting[place]
                due.setdefault(step + output_length - 1, []).append(place)
            for place in due.pop(step, ()):
                _require_finished(handles[place], output_length)
                times[place].tokens_ns += steps_ns[-output_length:]
        return require_length(times, output_length)


class SinglePipeline:
    """One request at a time, by LLMPipeline with a streamer that reads the clock."""

    def __init__(self, folder: str, device: str, properties: dict[str, str]) -> None:
        self._pipeline = openvino_genai.LLMPipeline(folder, device, **properties)

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._pipeline.get_tokenizer()

    def run(self, prompts: Sequence[NDArray[np.int64]], output_length: int) -> list[TextTimes]:
        """Run requests one after another; see :class:`TextPipeline`."""
        clock, settings, times = time.perf_counter_ns, greedy(output_length), []
        for prompt in prompts:
            tensor, mask = ov.Tensor(prompt[None]), ov.Tensor(np.ones_like(prompt[None]))
            streamer = _Clock()
            each = TextTimes(clock(), streamer.tokens_ns)
            times.append(each)
            inputs = openvino_genai.TokenizedInputs(tensor, mask)
            self._pipeline.generate(inputs, settings, streamer)
        return require_length(times, output_length)


class _Clock(openvino_genai.StreamerBase):  # type: ignore[misc] # untyped
    """Reads the clock at each token."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens_ns: list[int] = []

    def write(self, token: int | list[int]) -> Any:
        """Receive a token, or several."""
        count = len(token) if isinstance(token, list) else 1
        self.tokens_ns += [time.perf_counter_ns()] * count
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Receive the end."""


def _require_finished(handle: Any, output_length: int) -> None:
    """Check that a request has all its tokens now.

    Raises:
        RuntimeError: It waited between two tokens, so that their times are not known.
    """
    finished = handle.get_status() == openvino_genai.GenerationStatus.FINISHED
    count = sum(len(each.generated_ids) for each in handle.read_all()) if finished else 0
    if count != output_length:
        raise RuntimeError("the pipeline interrupted a request, as without memory for its cache")


def greedy(output_length: int) -> Any:
    """Return the settings of a greedy generation of exactly so many tokens."""
    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens = settings.min_new_tokens = output_length
    settings.ignore_eos, settings.do_sample = True, False
    return settings


def require_length(times: list[TextTimes], output_length: int) -> list[TextTimes]:
    """Check that each request has its tokens.

    Raises:
        RuntimeError: One has not: the cache was full, or the pipeline stopped.
    """
    counts = sorted({len(each.tokens_ns) for each in times})
    if counts != [output_length]:
        raise RuntimeError(f"a request ended after {counts[0]} of {output_length} tokens")
    return times


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
        self.wave_s: dict[int, float] = {}
        """Time of the latest wave by concurrency."""

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
        self._wave(1, 1)
        self.phases["rss_prefill_mib"] = self.resources.end_phase()
        first = self._wave(1, lengths["output_length"])
        reply["first_inference_ms"] = (first.tokens_ns[-1] - first.submitted_ns) / 1e6
        if request["warm_up"] and lengths["concurrency"] is not None:
            self._wave(lengths["concurrency"], lengths["output_length"])
        return reply | self._describe()

    def _read_model(self) -> int:
        """Read the graph as the pipeline will; return its number of tokens."""
        model = self.core.read_model(self.job["xml"])
        return int(model.output(_LOGITS).get_partial_shape()[-1].get_length())

    def _make_pipeline(self, cache: str) -> Any:
        folder, device = str(Path(self.job["xml"]).parent), self.job["device"]
        properties = dict(self.job["properties"]) | {"CACHE_DIR": cache}
        if kind_of(device) == "NPU":
            return SinglePipeline(folder, device, properties)
        limit = self.job["generation"]["concurrency"] or 0
        return ContinuousPipeline(folder, device, properties, limit)

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

    def _wave(self, concurrency: int, output_length: int) -> TextTimes:
        """Run a wave outside the windows; return its last request."""
        pipeline: TextPipeline = self.pipeline
        started = time.perf_counter()
        times = pipeline.run([self._draw() for _ in range(concurrency)], output_length)
        self.wave_s[concurrency] = time.perf_counter() - started
        return times[-1]

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
        lengths = self.job["generation"]
        concurrency = request["concurrency"] or lengths["concurrency"]
        if concurrency not in self.wave_s:
            self._wave(concurrency, lengths["output_length"])
        start = self.resources.start_round()
        recorded = generation.run_waves(
            self.pipeline,
            self._draw,
            concurrency,
            lengths["output_length"],
            request["seconds"],
            self.counters,
            wave_s=self.wave_s[concurrency],
        )
        waves = len(recorded.latencies_ms[-1]) / concurrency
        self.wave_s[concurrency] = recorded.windows[-1]["seconds"] / waves
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
