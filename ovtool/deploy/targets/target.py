"""What a kind of bundle is: its texts as functions of the manifest, and its rungs of proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ovtool.core import units
from ovtool.deploy import python_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovtool.deploy.manifest import Manifest, Purpose
    from ovtool.deploy.python_program import ProgramRun


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of the proof.

    Args:
        reached: Whether the step is proven; None if it was not checked.
        evidence: Figures, or why it was not checked.
    """

    name: str
    reached: bool | None
    evidence: str


class Target:
    """A kind of bundle.  The methods are those of a bundle that a server or a program reads."""

    name: ClassVar[str]
    supports_server: ClassVar[bool] = False
    """Whether a bundle can have a server of its own."""
    supports_text: ClassVar[bool] = False
    """Whether a bundle can have a language model."""

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the folder of the model in a bundle."""
        raise NotImplementedError

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the content of the texts of this kind of bundle, by path."""
        raise NotImplementedError

    def packages(self, *, text: bool, images: bool, server: bool) -> dict[str, Purpose]:
        """Return the packages that are pinned, with their purposes."""
        del images, server
        further = ["openvino-genai", "openvino-tokenizers"] if text else []
        return dict.fromkeys(["openvino", *further], "model")

    def about(self, manifest: Manifest) -> str:
        """Return the part of the README on this kind of bundle."""
        raise NotImplementedError

    def dockerfile(self, manifest: Manifest) -> str:
        """Return the file that builds an image of a bundle: not as root, with a health check."""
        raise NotImplementedError

    def command(self, manifest: Manifest) -> str:
        """Return the command that runs a bundle, in its folder."""
        raise NotImplementedError

    def run(self, folder: Path, manifest: Manifest, device: str, scratch: Path) -> ProgramRun:
        """Run the model of a bundle on its stored samples, in a process of its own.

        By default by the code of the target python, with the model and the properties of the
        bundle.

        Raises:
            InputError: The model does not run.
        """
        model = folder / self.model_folder(manifest.package, text=manifest.text is not None)
        return python_program.run_model(folder, model, manifest, device, scratch)

    def program_evidence(self, manifest: Manifest) -> str:
        """Return what ran the stored samples."""
        return f"OpenVINO ran the model on {samples_text(manifest)}"

    def further_rungs(self, folder: Path, manifest: Manifest, run: ProgramRun) -> Iterator[Rung]:
        """Yield the rungs of this kind of bundle beyond those of the model."""
        del folder, manifest, run
        yield from ()


def samples_text(manifest: Manifest) -> str:
    """Return the number of stored samples or prompts."""
    kind = "stored sample" if manifest.text is None else "stored prompt"
    return units.count_text(manifest.samples.count, kind)
