"""Quality of text generators in a sweep, and of graphs while settings are searched."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.devices import rules
from ovtool.evaluation.language import (
    REASON,
    check_reference_kind,
    choose_windows,
    compare_losses,
    load_text,
    perplexity_of,
    score_run,
    window_loss,
)
from ovtool.evaluation.language_runs import DecoderRun, StoredRun
from ovtool.evaluation.language_worker import ProcessRun
from ovtool.evaluation.metrics import Judge
from ovtool.graph.reference_run import EXACT_PROPERTIES
from ovtool.models.language.decoder import GraphDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov

    from ovtool.core.columns import QualityMetric
    from ovtool.core.notes import Note
    from ovtool.core.paired import SampleScores
    from ovtool.core.statistics import Interval
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import VariantSamples
    from ovtool.datasets.text import TextSamples
    from ovtool.evaluation.language_runs import TextRun, Window
    from ovtool.evaluation.metrics import MetricRequest


def judge_text(request: MetricRequest, variant: Variant, samples: VariantSamples) -> Judge:
    """Return the judge of a text generator: its perplexity over a text.

    Raises:
        InputError: Another metric or an output is requested, or the data are no text.
    """
    if request.metric not in (None, "perplexity") or request.outputs:
        wish = f"output {request.outputs[0]}" if request.outputs else f"metric {request.metric}"
        raise InputError(
            f"{wish} does not apply to {variant.name}, a text generator",
            "remove the option: the perplexity over a text decides",
        )
    load_text(variant, samples, SILENT)
    output = variant.record.outputs[0].name
    return Judge(metric="perplexity", reason=REASON, names=(output,), judged=(0,))


@dataclass(slots=True)
class TextEvaluator:
    """Evaluates the trials of text generators, once for each configuration.

    Args:
        samples: The text, in tokens of a variant.
        variants: The variants by id.
        baselines: Id of the uncompressed variant by id of each variant; None without a baseline.
        scratch: Folder for the logits of the uncompressed variants.
        timeout_s: Time limit of a compilation, or of one window of the text.
        known: Configurations of trials that are evaluated already.
    """

    samples: VariantSamples
    variants: Mapping[str, Variant]
    baselines: Mapping[str, str | None]
    scratch: Path
    timeout_s: float = 300.0
    known: set[tuple[object, ...]] = field(default_factory=set)
    _references: dict[str, tuple[ProcessRun, TextRun]] = field(default_factory=dict)

    def __call__(self, trial: Trial) -> tuple[dict[str, float], list[Note]]:
        """Return the quality figures and notes of a trial; none if its configuration is known.

        Raises:
            TrialFailedError: A model does not run, or has another vocabulary than its baseline.
        """
        if trial.configuration in self.known:
            return {}, []
        variant = self.variants[trial.variant]
        folder = self._make_folder()
        try:
            text = load_text(variant, self.samples, SILENT)
            run = ProcessRun(
                variant.xml, text.tokens, trial.device, rules.trial_properties(trial), folder,
                self.timeout_s,
            )  # fmt: skip
            windows = choose_windows(variant, len(text.tokens))
            with contextlib.closing(run), self._reference(trial.variant, text) as reference:
                score = score_run(run, reference, text.tokens, windows, SILENT)
        except InputError as error:
            raise TrialFailedError(error.full_text) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.known.add(trial.configuration)
        return score.figures, []  # the plan has the notes about the samples

    @contextlib.contextmanager
    def _reference(self, variant: str, text: TextSamples) -> Iterator[TextRun | None]:
        """Return the exact run of the uncompressed variant; its process ends after each use."""
        baseline = self.baselines[variant]
        if baseline is None:
            yield None
            return
        if baseline not in self._references:
            base = self.variants[baseline]
            check_reference_kind(base)
            folder = self._make_folder()
            run = ProcessRun(base.xml, text.tokens, "CPU", EXACT_PROPERTIES, folder, self.timeout_s)
            self._references[baseline] = (run, StoredRun(run, folder))
        run, stored = self._references[baseline]
        with contextlib.closing(run):
            yield stored

    def _make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="text-", dir=self.scratch))


@dataclass(slots=True)
class TextGraphEvaluator:
    """Evaluates graphs of a text generator that are not saved as variants, exactly on the CPU.

    Args:
        samples: A text that no graph was calibrated on, in tokens of the variant.
        variant: The uncompressed variant.
    """

    samples: TextSamples
    variant: Variant
    metric: QualityMetric = field(default="perplexity", init=False)
    sample_scores: SampleScores | None = field(default=None, init=False)
    """None: the perplexity is no mean of samples."""
    compares: bool = field(default=False, init=False)
    int8_kernels: bool = field(default=False, init=False)

    @property
    def description(self) -> str:
        """The metric with the size of the text, for the record."""
        return f"{self.metric}, {len(self.samples.tokens)} tokens"

    @property
    def windows(self) -> list[Window]:
        """The windows of the text."""
        return choose_windows(self.variant, len(self.samples.tokens))

    def __call__(self, model: ov.Model) -> Interval:
        """Return the perplexity of a graph.

        Raises:
            InputError: The graph does not run, or returns NaN or infinity.
        """
        return self.perplexity(self.losses(model))

    def iterate_losses(self, model: ov.Model) -> Iterator[float]:
        """Yield the sum of the negative log-likelihoods of the tokens of each window.

        Raises:
            InputError: The graph does not run, or returns NaN or infinity.
        """
        run = DecoderRun(GraphDecoder(model), self.samples.tokens)
        for window in self.windows:
            yield window_loss(run, self.samples.tokens, window)

    def losses(self, model: ov.Model) -> list[float]:
        """Return the same for all windows."""
        return list(self.iterate_losses(model))

    def _counts(self, windows: int) -> list[int]:
        return [window.end - window.first for window in self.windows[:windows]]

    def perplexity(self, losses: Sequence[float]) -> Interval:
        """Return the perplexity over the first windows, from their losses."""
        return perplexity_of(losses, self._counts(len(losses)))

    def compare(self, losses: Sequence[float], reference: Sequence[float]) -> Interval:
        """Return the rise of the perplexity over the first windows, as a share."""
        return compare_losses(losses, reference, self._counts(len(losses)))
