"""Tokens/s of bare openvino-genai by a stopwatch: ``python -m tests.benchmarks.bare_text``.

Arguments: folder, requests in flight, prompt length, output length, seconds.  It prints JSON.  It
imports nothing of ovtool: only the load is the same.
"""

import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai


class Bare:
    def __init__(self, folder, prompt_length):
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False
        scheduler.max_num_seqs = 256
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduler, "CPU", {"CACHE_DIR": ""}
        )
        self.prompt_length, self.random = prompt_length, np.random.default_rng(1)
        self.vocabulary = len(self.pipeline.get_tokenizer().get_vocab())
        self.number = 0

    def prompt(self):
        ids = self.random.integers(2, self.vocabulary, (1, self.prompt_length))
        return ov.Tensor(ids.astype(np.int64))

    def add(self, output_length):
        self.number += 1
        return self.pipeline.add_request(self.number, self.prompt(), config(output_length))

    def stopwatch(self, concurrency, output_length, seconds):
        """Keep requests in flight, from the end of a request to the end of another one.

        The first requests have outputs of different lengths, and end before the stopwatch starts.
        """
        lengths = [-(-i * output_length // concurrency) for i in range(1, concurrency + 1)]
        flying = [self.add(length) for length in lengths]
        ended, started = -concurrency, None
        while True:
            self.pipeline.step()
            left = [h for h in flying if h.get_status() != openvino_genai.GenerationStatus.FINISHED]
            now, gone = time.perf_counter(), len(flying) - len(left)
            ended += gone
            if gone and started is None and ended >= 0:
                started, ended = now, 0
            elif gone and started is not None and now - started >= seconds:
                return ended * output_length / (now - started)
            flying = left + [self.add(output_length) for _ in range(gone)]

    def library(self, concurrency, output_length):
        """Return tokens/s of a call of ``generate`` by the stopwatch, and by the library."""
        prompts = [self.prompt() for _ in range(concurrency)]
        settings = [config(output_length) for _ in prompts]
        began = time.perf_counter()
        results = self.pipeline.generate(prompts, settings)
        rate = concurrency * output_length / (time.perf_counter() - began)
        return rate, results[0].perf_metrics.get_throughput().mean


def config(output_length):
    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens = settings.min_new_tokens = output_length
    settings.ignore_eos, settings.do_sample = True, False
    return settings


if __name__ == "__main__":
    _, folder, concurrency, prompt_length, output_length, seconds = sys.argv
    bare = Bare(folder, int(prompt_length))
    bare.library(int(concurrency), int(output_length))  # warms up
    called, library = bare.library(int(concurrency), int(output_length))
    rate = bare.stopwatch(int(concurrency), int(output_length), float(seconds))
    print(json.dumps({"tokens_s": rate, "generate_tokens_s": called, "library_tokens_s": library}))
