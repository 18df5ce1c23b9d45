"""How good a model's outputs are: against labels, and against those of the uncompressed model."""

from ovtool.quality.score import Score, judged_output, score

__all__ = ["Score", "judged_output", "score"]
