"""Networks of the samples: untrained networks for digits, and a sentence classifier."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

SENTENCE_LENGTH = 64
_SEED = 0


def seeded(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Build a module with reproducible weights, without changing torch's global generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return make()


def lenet_300_100() -> torch.nn.Module:
    """Return LeNet-300-100 (LeCun et al. 1998): 266,610 parameters in three dense layers."""
    from torch import nn

    return _sequential(
        flatten=nn.Flatten(),
        fc1=nn.Linear(784, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, 10),
    )


def lenet_5() -> torch.nn.Module:
    """Return LeNet-5 (LeCun et al. 1998) in Caffe's form: 431,080 parameters.

    20 and 50 filters of 5x5 and 500 units, as in papers on compression (Han et al. 2016, "Deep
    Compression").
    """
    from torch import nn

    return _sequential(
        conv1=nn.Conv2d(1, 20, 5),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(20, 50, 5),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(800, 500),
        relu=nn.ReLU(),
        fc2=nn.Linear(500, 10),
    )


def digits_cnn() -> torch.nn.Module:
    """Return four 3x3 convolutions with batch norm: 61,050 parameters."""
    from torch import nn

    return _sequential(
        block1=_convolution(1, 16),
        block2=_convolution(16, 32, stride=2),
        block3=_convolution(32, 64, stride=2),
        block4=_convolution(64, 64),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(64, 10),
    )


def digits_resnet() -> torch.nn.Module:
    """Return a residual network (He et al. 2016) of three stages: 77,754 parameters."""
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc] # torch is untyped here
        """Two 3x3 convolutions with a shortcut, a 1x1 convolution when the shape changes."""

        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.shortcut: nn.Module = nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return [batch, outputs, height / stride, width / stride]."""
            inner = nn.functional.relu(self.bn1(self.conv1(x)))
            out: torch.Tensor = self.bn2(self.conv2(inner)) + self.shortcut(x)
            return nn.functional.relu(out)

    return _sequential(
        stem=_convolution(1, 16),
        stage1=Block(16, 16, 1),
        stage2=Block(16, 32, 2),
        stage3=Block(32, 64, 2),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(64, 10),
    )


def sentence_classifier(folder: Path) -> torch.nn.Module:
    """Return a pretrained sentence encoder with a zero logistic head.

    The encoder is frozen and has no dropout.  Its token embeddings are averaged and normalized to
    length 1, as in the training of all-MiniLM-L6-v2 (Reimers and Gurevych 2019).  The folder
    holds the encoder in transformers' format.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    class SentenceClassifier(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        """Token ids to the scores of two classes."""

        def __init__(self) -> None:
            super().__init__()
            config = BertConfig.from_pretrained(
                folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            )
            self.encoder = BertModel(config, add_pooling_layer=False)
            # Avoids a warning about an unknown loss.
            self.encoder.loss_type = "ForSequenceClassification"
            # Not from_pretrained, which draws a progress bar and warns about the unused pooler.
            weights = load_file(folder / "model.safetensors")
            known = self.encoder.state_dict()
            self.encoder.load_state_dict({name: weights[name] for name in known})
            self.encoder.requires_grad_(requires_grad=False)
            self.head = torch.nn.Linear(config.hidden_size, 2)
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Return scores [batch, 2] of token ids [batch, length]."""
            tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
            mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
            sentence = torch.nn.functional.normalize((tokens * mask).sum(1), dim=1)
            scores: torch.Tensor = self.head(sentence)
            return scores

    return SentenceClassifier()


def _convolution(inputs: int, outputs: int, stride: int = 1) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _sequential(**layers: torch.nn.Module) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(OrderedDict(layers))
