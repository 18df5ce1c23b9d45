"""Target ``python``: a package that needs openvino and numpy, or openvino-genai, alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ovtool.core import units
from ovtool.deploy import python_program
from ovtool.deploy.server_check import check_server
from ovtool.deploy.targets.target import Rung, Target, samples_text
from ovtool.deploy.texts import REQUIREMENTS, health_check, python_image, requirements, template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovtool.deploy.manifest import Manifest, Purpose
    from ovtool.deploy.python_program import ProgramRun

IMAGE_REQUIREMENTS, SERVER_REQUIREMENTS = "requirements-images.txt", "requirements-server.txt"
SERVER_PACKAGES = ("anyio", "starlette", "uvicorn")

_SERVER = """
The KServe v2 server over HTTP, with health, metrics and binary tensors:

```
pip install -r requirements-server.txt
python -m {package}.server --host 127.0.0.1 --port 8000
```
"""


class PythonTarget(Target):
    """A Python package, and what it needs."""

    name: ClassVar[str] = "python"
    supports_server: ClassVar[bool] = True
    supports_text: ClassVar[bool] = True

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the package, or the folder that openvino-genai reads in it."""
        return f"{package}/{python_program.PIPELINE}" if text else package

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the code, its configuration and its requirements."""
        texts = python_program.package_texts(manifest)
        texts[REQUIREMENTS] = requirements(manifest)
        if manifest.image is not None:
            lines = requirements(manifest, "images")
            texts[IMAGE_REQUIREMENTS] = f"-r {REQUIREMENTS}\n{lines}"
        if manifest.server:
            texts[f"{manifest.package}/server.py"] = template("python_app", "server.py")
            lines = requirements(manifest, "server")
            texts[SERVER_REQUIREMENTS] = f"-r {REQUIREMENTS}\n{lines}"
        return texts

    def packages(self, *, text: bool, images: bool, server: bool) -> dict[str, Purpose]:
        """Return the packages that the code imports."""
        needed = super().packages(text=text, images=images, server=server) | {"numpy": "model"}
        if images:
            needed["pillow"] = "images"
        return needed | dict.fromkeys(SERVER_PACKAGES if server else (), "server")

    def about(self, manifest: Manifest) -> str:
        """Return how to install and use the package."""
        names = [p.name for p in manifest.packages if p.direct and p.purpose == "model"]
        needs = ", ".join(f"`{name}`" for name in names)
        pillow = ", and Pillow to read image files" if manifest.image is not None else ""
        reads = (
            f"\n`{manifest.package}.images.read_image` reads files as the model was evaluated.\n"
            if manifest.image is not None
            else ""
        )
        install = f"pip install -r {REQUIREMENTS}"
        if manifest.image is not None:
            install += f"\npip install -r {IMAGE_REQUIREMENTS}"
        shown = python_program.TEXT_USAGE if manifest.text else python_program.USAGE
        usage = shown.format(
            package=manifest.package, batch=units.count_text(manifest.trial.batch, "sample")
        )
        server = _SERVER.format(package=manifest.package) if manifest.server else ""
        return f"""A Python package that needs {needs} alone{pillow}.

```
{install}
{self.command(manifest)}
```

```python
{usage}```
{reads}{server}"""

    def dockerfile(self, manifest: Manifest) -> str:
        """Return an image of the server, or of the program: it ends, and has no health check."""
        package, images = manifest.package, manifest.image is not None
        needed = f"{REQUIREMENTS} {IMAGE_REQUIREMENTS}" if images else REQUIREMENTS
        module, check = package, "HEALTHCHECK NONE"
        if manifest.server:
            needed = f"{REQUIREMENTS} {SERVER_REQUIREMENTS}"
            module, check = f"{package}.server", health_check(8000)
        arguments = ', "--host", "0.0.0.0"' if manifest.server else ""
        return f"""FROM {python_image(manifest)}
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY {needed} ./
RUN pip install --no-cache-dir -r {needed.split()[-1]}
COPY {package} {package}
USER 10001:10001
{check}
ENTRYPOINT ["python", "-m", "{module}"{arguments}]
"""

    def command(self, manifest: Manifest) -> str:
        """Return how to run the package."""
        if manifest.text is not None:
            return f'python -m {manifest.package} "The capital of France is"'
        return f"python -m {manifest.package} {'image.jpg' if manifest.image else 'inputs.npz'}"

    def run(self, folder: Path, manifest: Manifest, device: str, scratch: Path) -> ProgramRun:
        """Run the package of the bundle itself."""
        return python_program.run_package(folder, folder, manifest, device, scratch)

    def further_rungs(self, folder: Path, manifest: Manifest, run: ProgramRun) -> Iterator[Rung]:
        """Yield the rung of the server."""
        del run
        if manifest.server:
            yield check_server(folder, manifest)

    def program_evidence(self, manifest: Manifest) -> str:
        """Return what ran the stored samples."""
        return f"ran on {samples_text(manifest)}"
