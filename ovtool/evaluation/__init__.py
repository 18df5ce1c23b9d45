"""How good a model's outputs are: against labels, and against those of the uncompressed model."""

from ovtool.evaluation.divergence import Parting, find, relative_error
from ovtool.evaluation.scores import Score, judged_output, score
from ovtool.evaluation.text_scores import Alphabet, alphabet, classes, score_texts

__all__ = [
    "Alphabet",
    "Parting",
    "Score",
    "alphabet",
    "classes",
    "find",
    "judged_output",
    "relative_error",
    "score",
    "score_texts",
]
