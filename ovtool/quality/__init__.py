"""How good a model's outputs are: against labels, and against those of the uncompressed model."""

from ovtool.quality.parting import Parting, find, relative_error
from ovtool.quality.score import Score, judged_output, score
from ovtool.quality.texts import Alphabet, alphabet, classes, score_texts

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
