"""Target ``python``: a package that needs openvino and numpy, or openvino-genai, alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ovtool.core import units
from ovtool.deploy import python_program
from ovtool.deploy.targets.target import Target, samples_text
from ovtool.deploy.texts import REQUIREMENTS, python_image, requirements

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.deploy.manifest import Manifest
    from ovtool.deploy.python_program import ProgramRun

IMAGE_REQUIREMENTS = "requirements-images.txt"


class PythonTarget(Target):
    """A Python package, and what it needs."""

    name: ClassVar[str] = "python"
    supports_text: ClassVar[bool] = True

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the package, or the folder that openvino-genai reads in it."""
        return f"{package}/{python_program.PIPELINE}" if text else package

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the code, its configuration and its requirements."""
        texts = python_program.package_texts(manifest)
        texts[REQUIREMENTS] = requirements(manifest)
        if manifest.image is not None:
            lines = requirements(manifest, optional=True)
            texts[IMAGE_REQUIREMENTS] = f"-r {REQUIREMENTS}\n{lines}"
        return texts

    def packages(self, *, text: bool, images: bool) -> dict[str, bool]:
        """Return the packages that the code imports."""
        if text:
            return super().packages(text=True, images=images) | {"numpy": False}
        return {"openvino": False, "numpy": False} | ({"pillow": True} if images else {})

    def about(self, manifest: Manifest) -> str:
        """Return how to install and use the package."""
        names = [p.name for p in manifest.packages if p.direct and not p.optional]
        needs = ", ".join(f"`{name}`" for name in names)
        pillow = ", and Pillow to read image files" if manifest.image is not None else ""
        install = f"pip install -r {REQUIREMENTS}"
        if manifest.image is not None:
            install += f"\npip install -r {IMAGE_REQUIREMENTS}"
        shown = python_program.TEXT_USAGE if manifest.text else python_program.USAGE
        usage = shown.format(
            package=manifest.package, batch=units.count_text(manifest.trial.batch, "sample")
        )
        return f"""A Python package that needs {needs} alone{pillow}.

```
{install}
{self.command(manifest)}
```

```python
{usage}```
"""

    def dockerfile(self, manifest: Manifest) -> str:
        """Return an image whose program ends with its answer, so that it has no health check."""
        package, images = manifest.package, manifest.image is not None
        needed = f"{REQUIREMENTS} {IMAGE_REQUIREMENTS}" if images else REQUIREMENTS
        return f"""FROM {python_image(manifest)}
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY {needed} ./
RUN pip install --no-cache-dir -r {needed.split()[-1]}
COPY {package} {package}
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "{package}"]
"""

    def command(self, manifest: Manifest) -> str:
        """Return how to run the package."""
        if manifest.text is not None:
            return f'python -m {manifest.package} "The capital of France is"'
        return f"python -m {manifest.package} {'image.jpg' if manifest.image else 'inputs.npz'}"

    def run(self, folder: Path, manifest: Manifest, device: str, scratch: Path) -> ProgramRun:
        """Run the package of the bundle itself."""
        return python_program.run_package(folder, folder, manifest, device, scratch)

    def program_evidence(self, manifest: Manifest) -> str:
        """Return what ran the stored samples."""
        return f"ran on {samples_text(manifest)}"
