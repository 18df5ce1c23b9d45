"""Nested arguments and outputs of torch modules."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.models.torch_values import fill_arguments, split_arguments, split_outputs


class Pair(NamedTuple):
    left: torch.Tensor
    right: object


@dataclasses.dataclass
class Output:
    scores: torch.Tensor
    cache: object = None
    flag: bool = False


def test_arguments_are_rebuilt_around_their_tensors():
    one, two, three = torch.ones(1), torch.zeros(2), np.arange(3)
    values = {"flag": True, "images": [one, {"mask": two}], "none": None, "rest": Pair(three, 2)}
    arguments = split_arguments(values, ["images", "rest", "flag"], "net")
    assert list(arguments.tensors) == ["images.0", "images.1.mask", "rest.0"]
    assert arguments.by_name
    filled = fill_arguments(arguments.structure, {n: t + 1 for n, t in arguments.tensors.items()})
    assert filled["flag"] is True
    assert filled["none"] is None
    assert filled["images"][1]["mask"].tolist() == [1, 1]
    assert filled["rest"].left.tolist() == [1, 2, 3]
    assert filled["rest"].right == 2


def test_arguments_in_order_have_the_names_of_the_parameters():
    arguments = split_arguments([torch.ones(1), 3, torch.ones(2)], ["x", "steps"], "net")
    assert list(arguments.tensors) == ["x", "input_2"]
    assert not arguments.by_name
    assert fill_arguments(arguments.structure, arguments.tensors)[1] == 3
    with pytest.raises(InputError, match=r"net.*'x'.*int"):
        split_arguments([3], ["x"], "net")


def test_outputs_have_the_names_of_their_keys():
    a, b = torch.ones(1), torch.zeros(2)
    outputs = split_outputs(
        {"scores": a, "hidden": (a, [b]), "none": None, "pair": Pair(b, "text"), "flag": 1}
    )
    assert outputs.names == ("scores", "hidden.0", "hidden.1.0", "pair.left")
    assert [tensor.numel() for tensor in outputs.tensors] == [1, 1, 2, 2]
    assert outputs.left_out == ("pair.right (str)", "flag (int)")
    assert split_outputs((a, [b])).names == (None, None)
    assert split_outputs(Output(a, cache=object())).names == ("scores",)
    assert split_outputs(Output(a, cache=object())).left_out == ("cache (object)", "flag (bool)")
    assert split_outputs(a).names == (None,)
