"""The tokens of an evaluated language model: ``python -m ovtool.deploy.text_worker REQUEST``.

A process of its own, without torch.  The pipeline is the one that the sweep measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openvino_genai  # noqa: TID253 - only this process imports it


def generate(request: Path) -> None:
    """Write ``tokens.json`` beside a request: the greedy tokens of each prompt."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        asked["folder"], scheduler, asked["device"], asked["properties"]
    )
    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens, settings.do_sample = asked["max_new_tokens"], False
    # One after another: a batch of other prompts may round otherwise.
    tokens: list[list[int]] = []
    for prompt in asked["prompts"]:
        handle = pipeline.add_request(len(tokens), prompt, settings)
        while pipeline.has_non_finished_requests():
            pipeline.step()
        tokens.append(list(handle.read_all()[0].generated_ids))
    (request.parent / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")


if __name__ == "__main__":
    try:
        generate(Path(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
