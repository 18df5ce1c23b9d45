"""Command line: print the continuation of prompts, or save its tokens."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .model import Model


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    try:
        prompts, limit = _read(options.prompts, options.max_new_tokens)
        model = Model(options.device)
        if options.describe:
            options.describe.write_text(json.dumps(model.describe(), indent=1), encoding="utf-8")
        if options.out:
            tokens = [model.generate_tokens(prompt, limit) for prompt in prompts]
            _save(options.out, tokens)
            return
        for text in model.generate(prompts, limit):
            print(text)
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Continue prompts by greedy search."
    )
    parser.add_argument(
        "prompts",
        nargs="+",
        help='prompts, or one .json file: {"prompts": [...], "max_new_tokens": ...}',
    )
    parser.add_argument("--max-new-tokens", type=int, help="of each prompt; default: 100")
    parser.add_argument("--device", help="OpenVINO device; default: the measured one")
    parser.add_argument("--out", type=Path, help="save the tokens to this .npz: tokens.0, tokens.1")
    parser.add_argument("--describe", type=Path, help="save what was compiled to this .json")
    return parser.parse_args(arguments)


def _read(prompts: list[str], limit: int | None) -> tuple[list[str], int]:
    """Return the prompts and the limit of tokens of the arguments, or of a file."""
    if len(prompts) == 1 and prompts[0].endswith(".json"):
        document = json.loads(Path(prompts[0]).read_text(encoding="utf-8"))
        return list(document["prompts"]), limit or int(document["max_new_tokens"])
    return prompts, limit or 100


def _save(path: Path, tokens: Sequence[Sequence[int]]) -> None:
    """Save the tokens of each prompt by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for index, row in enumerate(tokens):
            with archive.open(f"tokens.{index}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(row, np.int64), allow_pickle=False)


if __name__ == "__main__":
    main()
