"""A faulty worker of text generators: run as ``python -m tests.sweep.text_faults 'JSON'``.

The argument maps a concurrency to ``[what, when]``, as for :mod:`tests.sweep.faults`.  The worker
has the real load on a scripted pipeline, and neither openvino nor openvino-genai.
"""

import json
import sys

import numpy as np

from ovtool.benchmark.fake import FakeTextPipeline
from ovtool.benchmark.generation import Arrivals, PausableClock, TextLoad
from ovtool.system import child_process
from tests.sweep.faults import misbehave

_OPENED = {
    "compile_ms": 5.0,
    "first_inference_ms": 8.0,
    "pipeline": "Scripted",
    "ordinary_tokens": 100,
    "usable_cpus": 1,
    "quota_cpus": None,
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "u8",
    "INFERENCE_NUM_THREADS": "1",
}


class Faulty:
    def _fails(self, when):
        concurrency = str(self.generation["concurrency"])
        what, expected = json.loads(sys.argv[1]).get(concurrency, (None, None))
        return misbehave(what) if when == expected else None

    def open(self, request):
        self.generation = request["generation"]
        if reply := self._fails("open"):
            return reply
        self.pipeline = FakeTextPipeline(2.0)
        self.pipeline.clock = clock = PausableClock(self.pipeline.now)
        arrivals = Arrivals(self.generation["concurrency"], request["rate"])
        self.load = TextLoad(
            self.pipeline, clock, lambda: np.zeros(1, np.int64), self.generation["output_length"],
            arrivals, sleep=self.pipeline.sleep,
        )  # fmt: skip
        self.load.start()
        return _OPENED

    def measure(self, request):
        if reply := self._fails("measure"):
            return reply
        recorded = self.load.measure(request["seconds"], self.pipeline.read)
        memory = {"peak_rss_mib": 10.0, "rss_growth_mib": 5.0, "energy_unknown": "scripted"}
        return recorded.to_json() | memory

    def layers(self, _request):
        return {"layers": None}


if __name__ == "__main__":
    child_process.serve(Faulty)
