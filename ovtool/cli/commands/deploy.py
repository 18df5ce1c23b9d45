"""``ovtool deploy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import DATA, LIMITS, MEASUREMENT, OUTPUT, TARGET, argument, option
from ovtool.cli.spec_options import with_options_of
from ovtool.core.errors import InputError
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from ovtool.deploy.verification import Verification

EXAMPLES = (
    "ovtool deploy sweeps/mini-pc --max-latency-ms 20 --data held-out/ --out bundle",
    "ovtool deploy --verify bundle",
)
_STATES = {True: "reached", False: "not reached", None: "not checked"}
EXIT_CODES = {
    1: "no row meets the limits, or the outputs are not those of the evaluated model",
    2: "wrong use, or the bundle is refused: a file, the device or a version is another one",
}


@with_options_of(ChoiceSpec)
def command(
    spec: ChoiceSpec,
    sweeps: Annotated[list[str] | None, argument("Sweep folders.", kind="SWEEP")] = None,
    target: Annotated[
        str, option(OUTPUT, "TARGET", "Kind of the bundle: python, ovms or triton.")
    ] = "python",
    out: options.OutFolder = None,
    force: options.Force = False,
    variant: Annotated[
        str | None, option(TARGET, "NAME", "Choose among the rows of this variant.")
    ] = None,
    device: Annotated[
        str | None,
        option(
            TARGET,
            "DEVICE",
            "Choose among the rows of this device; with --verify, the device to run on.",
        ),
    ] = None,
    batch: Annotated[
        int | None, option(TARGET, "N", "Choose among the rows with this batch.", min=1)
    ] = None,
    data: Annotated[
        str | None,
        option(
            DATA,
            "DATA",
            "Samples to store with their outputs, a few of them: image folder, .npz, .npy or"
            " sample:NAME; for a language model a text file with a prompt a line.",
            show_default="noise",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        option(
            DATA,
            "FILE",
            "Names of the classes, one a line in the order of the outputs.",
            show_default="of the model or of the image folder",
        ),
    ] = None,
    name: Annotated[
        str | None,
        option(OUTPUT, "NAME", "Name of the package.", show_default="name of the variant"),
    ] = None,
    server: Annotated[
        bool, option(OUTPUT, "", "Add a KServe v2 server, for target python.", "--server")
    ] = False,
    docker: Annotated[bool, option(OUTPUT, "", "Add a Dockerfile.", "--docker")] = False,
    model_license: Annotated[
        str, option(OUTPUT, "TEXT", "License of the model, for the notes of the bundle.")
    ] = "unknown",
    data_license: Annotated[
        str, option(OUTPUT, "TEXT", "License of the stored samples, for the notes of the bundle.")
    ] = "unknown",
    verify: Annotated[
        str | None, option(OUTPUT, "BUNDLE", "Verify a bundle in place of writing one.")
    ] = None,
    allow_other_device: Annotated[
        bool, option(LIMITS, "", "Verify on another device too.", "--allow-other-device")
    ] = False,
    allow_other_version: Annotated[
        bool,
        option(
            LIMITS, "", "Verify with other versions of openvino or numpy.", "--allow-other-version"
        ),
    ] = False,
    latency: Annotated[
        bool,
        option(MEASUREMENT, "", "Measure the latency of the bundle.", "--latency/--no-latency"),
    ] = True,
    json: options.Json = False,
) -> None:
    """Write the chosen model as a bundle that runs without ovtool, and verify it.

    The limits and the objective are those of choose.  A bundle has the model with its
    preprocessing, the measured settings, samples with their outputs, and hashes of all files.
    """
    from ovtool import api

    if verify is not None:
        if sweeps or out:
            raise InputError("--verify takes a bundle, no sweeps and no --out", EXAMPLES[1])
        with progress.show_progress() as bar:
            verification = api.verify_bundle(
                verify,
                device=device,
                allow_other_device=allow_other_device,
                allow_other_version=allow_other_version,
                latency=latency,
                progress=bar,
            )
        print_verification(verification, json=json)
        return
    if not sweeps or out is None:
        missing = "a sweep" if not sweeps else "--out"
        raise InputError(f"deploy needs {missing}", f"such as: {EXAMPLES[0]}")
    with progress.show_progress() as bar:
        bundle = api.deploy(
            sweeps,
            out,
            target=target,
            variant=variant,
            device=device,
            batch=batch,
            data=data,
            classes=classes,
            name=name,
            server=server,
            docker=docker,
            model_license=model_license,
            data_license=data_license,
            latency=latency,
            force=force,
            spec=spec,
            progress=bar,
        )
    if json:
        print_verification(bundle.verification, json=True)
    else:
        console.print_line(bundle.choice.headline, style="bold")
        print_verification(bundle.verification, json=False)
        console.print_unwrapped(f"run: cd {bundle.folder} && {bundle.command}")
    console.print_notes(bundle.notes)


def print_verification(verification: Verification, *, json: bool) -> None:
    """Print the rungs of proof of a bundle."""
    if json:
        console.print_json(verification.to_json())
        return
    rows = [(rung.name, _STATES[rung.reached], rung.evidence) for rung in verification.rungs]
    console.print_table((verification.bundle, "", "evidence"), rows)
