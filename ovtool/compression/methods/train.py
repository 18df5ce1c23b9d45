"""Training a network, on labels or with a teacher."""

from __future__ import annotations

from ovtool.compression.distillation import DistillationSettings, retrain
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.networks import convert_network, training_details


def _apply(context: MethodContext[DistillationSettings]) -> MethodResult:
    network = context.create_network("train")
    trained = retrain(network, context, stage="training")
    return convert_network(context, network, training_details(trained))


TRAIN = Method(
    DistillationSettings,
    frozenset({"network", "training"}),
    _apply,
    "accuracy, of a network that an earlier step made smaller or of a small network",
)
