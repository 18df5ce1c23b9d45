"""Quality of a text generator over a text: perplexity, and divergence from a reference.

Perplexity is the exponential of the mean negative log-likelihood of a token, given the tokens
before it in a window that moves by a stride: the first tokens of a window are only read.  The
divergence is that of Kullback and Leibler, of the next token, in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.companions import read_positions
from ovtool.core.errors import InputError
from ovtool.core.statistics import Interval, bootstrap_rate, mean_interval, wilson
from ovtool.core.third_party import read_graph
from ovtool.datasets.fingerprint import evaluation_notes
from ovtool.datasets.registry import check_reference
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.datasets.text import TextSamples
from ovtool.devices import rules
from ovtool.evaluation.evaluate import EXACT, Quality
from ovtool.evaluation.language_runs import (
    GENERATED,
    PROMPT,
    DecoderRun,
    StoredRun,
    TextRun,
    Window,
)
from ovtool.evaluation.scores import make_interval_figures
from ovtool.models.language.decoder import GraphDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.core.progress import Progress
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples

REASON = "the model generates text"
WINDOW = 512
PROMPTS = 8
"""Prompts from the text whose greedy continuations are compared."""


@dataclass(frozen=True, slots=True)
class TextScore:
    """Quality of a text generator over a text; without a reference only its perplexity.

    Args:
        tokens: Number of predicted tokens.
        windows: Number of windows of the text.
        perplexity: Over the text.
        rise: Rise of the perplexity over that of the reference, as a share; paired by window.
        divergence: Mean divergence of the next token from the reference, in nats.
        agreement: Share of tokens for which both have the same most likely next token.
        greedy_tokens: Mean number of equal tokens before the first other one, when both choose the
            most likely token after prompts from the text; at most :data:`GENERATED`.
    """

    tokens: int
    windows: int
    perplexity: Interval
    rise: Interval | None = None
    divergence: Interval | None = None
    agreement: Interval | None = None
    greedy_tokens: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures by column name."""
        figures = {"quality_samples": float(self.windows), "quality_tokens": float(self.tokens)}
        figures |= make_interval_figures("perplexity", self.perplexity, 1.0, math.inf)
        if self.rise is not None:
            percent = Interval(*(100 * v for v in (self.rise.value, self.rise.low, self.rise.high)))
            figures |= make_interval_figures("perplexity_rise_pct", percent, -100.0, math.inf)
        if self.divergence is not None:
            figures |= make_interval_figures("kl_divergence", self.divergence, 0.0, math.inf)
        if self.agreement is not None:
            figures |= make_interval_figures("token_agreement", self.agreement, 0.0, 1.0)
        if self.greedy_tokens is not None:
            figures["greedy_tokens"] = self.greedy_tokens
        return figures


def split_windows(tokens: int, window: int, stride: int) -> list[Window]:
    """Return windows over a text in which each token but the first is predicted once.

    Raises:
        ValueError: The stride leaves a window no token to read before.

    >>> [(w.start, w.first, w.end) for w in split_windows(10, window=6, stride=3)]
    [(0, 1, 6), (3, 6, 9), (4, 9, 10)]
    """
    if not 0 < stride < window:
        raise ValueError(f"a stride of {stride} in a window of {window}")
    windows = [Window(0, 1, min(window, tokens))]
    while windows[-1].end < tokens:
        first = windows[-1].end
        end = min(first + stride, tokens)
        windows.append(Window(max(0, end - window), first, end))
    return windows


def choose_windows(variant: Variant, tokens: int) -> list[Window]:
    """Return the windows of a text: :data:`WINDOW` tokens, or as many as the model has positions.

    Each moves by half of its tokens.
    """
    window = min(WINDOW, read_positions(variant.folder) or WINDOW)
    return split_windows(tokens, window, max(1, window // 2))


def score_run(
    run: TextRun,
    exact: TextRun | None,
    tokens: NDArray[np.int64],
    windows: Sequence[Window],
    progress: Progress,
) -> TextScore:
    """Return the quality of a text generator over tokens, against a reference if there is one.

    Intervals are over windows, since tokens of a window are correlated.

    Raises:
        InputError: A model does not run, or has another vocabulary than the reference.
    """
    sums: list[_Sums] = []
    for window in windows:
        sums.append(_compare(run, exact, tokens, window))
        progress.advance()
    counts = [each.tokens for each in sums]
    losses = [each.loss for each in sums]
    score = TextScore(sum(counts), len(sums), perplexity_of(losses, counts))
    if exact is None:
        return score
    return replace(
        score,
        rise=compare_losses(losses, [each.reference_loss for each in sums], counts),
        divergence=bootstrap_rate([each.divergence for each in sums], counts, scale="linear"),
        agreement=_share([each.equal for each in sums], counts),
        greedy_tokens=float(np.mean(_greedy_lengths(run, exact, len(tokens)))),
    )


def compare_losses(
    losses: Sequence[float], reference: Sequence[float], counts: Sequence[int]
) -> Interval:
    """Return the rise of a perplexity over another one on the same windows, as a share.

    The interval is that of the mean difference of the negative log-likelihoods, paired by window:
    what is hard in a window is hard for both models.

    Args:
        losses: Sum of the negative log-likelihoods of the tokens of each window.
        reference: The same of the reference.
        counts: Predicted tokens of each window.
    """
    growth = [own - other for own, other in zip(losses, reference, strict=True)]
    if not any(growth):
        return Interval(0.0, 0.0, 0.0)
    mean = mean_interval([each * len(counts) / sum(counts) for each in growth])
    return Interval(*(math.expm1(v) for v in (mean.value, mean.low, mean.high)))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the predicted tokens of a window."""

    tokens: int
    loss: float
    reference_loss: float = 0.0
    divergence: float = 0.0
    equal: int = 0


def _share(hits: Sequence[int], counts: Sequence[int]) -> Interval:
    """Return a share with the wider of two intervals: over windows, and of single tokens.

    Windows that all have the same share say nothing of the spread.
    """
    windows = bootstrap_rate(hits, counts, scale="linear")
    single = wilson(sum(hits), sum(counts))
    if not windows.known:
        return single
    return Interval(windows.value, min(windows.low, single.low), max(windows.high, single.high))


def perplexity_of(losses: Sequence[float], counts: Sequence[int]) -> Interval:
    """Return the perplexity from the sum of the losses of each window, and their tokens."""
    loss = bootstrap_rate(losses, counts)
    return Interval(*(math.exp(v) for v in (loss.value, loss.low, loss.high)))


def window_loss(run: TextRun, tokens: NDArray[np.int64], window: Window) -> float:
    """Return the sum of the negative log-likelihoods of the predicted tokens of a window."""
    return _compare(run, None, tokens, window).loss


def _compare(
    run: TextRun, exact: TextRun | None, tokens: NDArray[np.int64], window: Window
) -> _Sums:
    expected = tokens[window.first : window.end]
    places = np.arange(len(expected))
    ours = _log_probabilities(run.logits(window))
    loss = float(-ours[places, expected].sum())
    if exact is None:
        return _Sums(len(expected), loss)
    theirs = _log_probabilities(exact.logits(window))
    if ours.shape != theirs.shape:
        raise InputError(
            f"the models have {ours.shape[1]} and {theirs.shape[1]} tokens",
            "compare variants of one source",
        )
    return _Sums(
        len(expected),
        loss,
        float(-theirs[places, expected].sum()),
        float((np.exp(theirs) * (theirs - ours)).sum()),
        int((ours.argmax(1) == theirs.argmax(1)).sum()),
    )


def _log_probabilities(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-probabilities [count, vocabulary] of logits."""
    logits = values.astype(np.float64)
    if not np.isfinite(logits).all():
        raise InputError("the model returns NaN or infinity", "use another precision or device")
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def _greedy_lengths(run: TextRun, exact: TextRun, tokens: int) -> list[int]:
    """Return the numbers of equal tokens before the first other one, for prompts over the text."""
    starts = np.unique(np.linspace(0, tokens - PROMPT, PROMPTS).astype(int)).tolist()
    different = run.continue_from(starts) != exact.continue_from(starts)
    return [int(row.argmax()) if row.any() else GENERATED for row in different]


def evaluate_text(
    variant: Variant,
    text: TextSamples,
    reference: TextRun | None,
    device: str,
    precision: str,
    progress: Progress,
) -> Quality:
    """Measure the quality of a text generator over a text on a device.

    Args:
        variant: The text generator.
        text: The text, in tokens of the variant.
        reference: The run of the uncompressed text generator; None for the perplexity alone.
        device: Where the variant runs.
        precision: Inference precision to request; ``exact`` is the most accurate mode.
        progress: Receives the stages.

    Raises:
        InputError: A model does not run, or has another vocabulary than the reference.
    """
    properties = _properties(device, precision)
    decoder = GraphDecoder(read_graph(variant.xml), device, properties)
    windows = choose_windows(variant, len(text.tokens))
    progress.start(f"evaluating {variant.name} on {device} in {precision}", len(windows))
    score = score_run(DecoderRun(decoder, text.tokens), reference, text.tokens, windows, progress)
    return Quality(
        variant=variant.name,
        device=device,
        precision=precision,
        executed_precision=decoder.executed_precision,
        figures=score.figures,
        notes=evaluation_notes(variant.record, text),
        metric="perplexity",
        reason=REASON,
    )


def open_reference(variant: Variant, text: TextSamples, folder: Path) -> TextRun:
    """Return the run of an uncompressed text generator over a text; its logits are in a folder.

    It runs exactly on the CPU: f32, without quantization of activations and of the cache.

    Raises:
        InputError: The variant is not a text generator.
    """
    check_reference_kind(variant)
    return StoredRun(DecoderRun(GraphDecoder(read_graph(variant.xml)), text.tokens), folder)


def check_reference_kind(variant: Variant) -> None:
    """Check that an uncompressed variant is a text generator.

    Raises:
        InputError: It is not.
    """
    if not variant.record.generates_text:
        raise InputError(
            f"the baseline {variant.name} is not a text generator", "use another --baseline"
        )


def load_text(variant: Variant, data: DataSpec | VariantSamples, progress: Progress) -> TextSamples:
    """Return a text in tokens of a variant.

    Raises:
        InputError: The data are no text, or the text is too short.
    """
    spec = data if isinstance(data, DataSpec) else data.spec
    samples: Samples | None = None
    if check_reference(spec.source, spec.labels) in ("text", "sample"):
        samples = data.load(variant, progress) if isinstance(data, DataSpec) else data(variant)
    if not isinstance(samples, TextSamples):
        raise InputError(
            f"{variant.name} is a text generator; {spec.source} is not a text",
            "give a text file (.txt) as data",
        )
    return samples


def _properties(device: str, precision: str) -> dict[str, str]:
    if precision == "default":
        return {}
    if precision != EXACT:
        return {"INFERENCE_PRECISION_HINT": precision}
    properties = rules.exact_properties(device)
    if not properties:
        raise InputError(
            f"precision {EXACT} is not supported by the virtual device {device}",
            "evaluate its member devices",
        )
    return properties
