"""How good a model's outputs are: against labels, and against those of the uncompressed model."""

from ovtool.quality.score import Score, judged_output, score
from ovtool.quality.texts import Alphabet, alphabet, classes, score_texts

__all__ = ["Alphabet", "Score", "alphabet", "classes", "judged_output", "score", "score_texts"]
