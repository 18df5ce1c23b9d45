"""The language model: prompts in, text out, several prompts at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai

FOLDER = Path(__file__).parent


class Model:
    """A language model, loaded for the device and with the properties that were measured.

    One thread at a time may call its methods.  Prompts get the chat template of the model, if it
    has one.

    Args:
        device: Another OpenVINO device, such as ``GPU``; by default the measured one.

    Attributes:
        concurrency: Prompts that were measured together.
        tokenizer: Tokenizer of ``openvino_genai``.
    """

    def __init__(self, device: str | None = None) -> None:
        self.config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
        self.device: str = device or self.config["device"]
        self.concurrency: int = self.config["concurrency"]
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False  # as measured; True saves time on equal beginnings
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(FOLDER / "pipeline"), scheduler, self.device, self.config["properties"]
        )
        self.tokenizer = self._pipeline.get_tokenizer()

    def generate(self, prompts: Sequence[str], max_new_tokens: int = 100) -> list[str]:
        """Return the continuation of each prompt by greedy search."""
        settings = self.settings(max_new_tokens)
        results = self._pipeline.generate(list(prompts), [settings] * len(prompts))
        return [result.m_generation_ids[0] for result in results]

    def stream(
        self, prompt: str, on_text: Callable[[str], object], max_new_tokens: int = 100
    ) -> None:
        """Pass the continuation of a prompt to ``on_text`` piece by piece, as it is generated."""

        def receive(piece: str) -> Any:
            on_text(piece)
            return openvino_genai.StreamingStatus.RUNNING

        self._pipeline.generate([prompt], [self.settings(max_new_tokens)], receive)

    def generate_tokens(self, prompt: str, max_new_tokens: int) -> list[int]:
        """Return the tokens of the continuation of a prompt by greedy search."""
        handle = self._pipeline.add_request(0, prompt, self.settings(max_new_tokens))
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return list(handle.read_all()[0].generated_ids)

    @staticmethod
    def settings(max_new_tokens: int) -> Any:
        """Return the settings of greedy search; change them for sampling."""
        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens, settings.do_sample = max_new_tokens, False
        return settings

    def describe(self) -> dict[str, Any]:
        """Return the device and the properties as the device reports them.

        The pipeline does not show its compiled model: the properties are those of an empty model
        that is compiled with them.
        """
        parameter = ov.opset13.parameter([1], np.float32)
        model = ov.Model([ov.opset13.relu(parameter)], [parameter])
        compiled = ov.Core().compile_model(model, self.device, self.config["properties"])
        reported = set(compiled.get_property("SUPPORTED_PROPERTIES"))
        properties = {
            name: property_text(compiled.get_property(name)) if name in reported else None
            for name in self.config["properties"]
        }
        return {"device": self.device, "properties": properties, "requests": self.concurrency}


def property_text(value: Any) -> str:
    """Return the value of a property as text, in the form in which it is set."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if hasattr(value, "get_type_name"):  # an element type
        return str(value.get_type_name())
    return str(getattr(value, "name", value))  # an enumeration, or a plain value
