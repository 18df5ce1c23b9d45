"""``--json`` of every verb: one document with the version of its schema."""

import json

import pytest

from ovtool.cli.command import load_command
from ovtool.cli.console import JSON_SCHEMA
from ovtool.cli.main import VERBS
from tests.cli.json_fields import STORED, describe
from tests.fleet.conftest import measuring, needs_dask, start_fleet
from tests.helpers import sweeps

__all__ = ["measuring", "start_fleet"]  # fixtures

pytestmark = pytest.mark.usefixtures("local_workers", "local_renderer")

QUICK = ("--hint", "latency", "--rounds", "3", "--round-s", "0.02", "--max-seconds", "0.1")
RECIPE = """
recipe: 1
name: small
about: an IR, measured
model: {source: MODEL}
variants: {fp32: {}}
sweep: {devices: [CPU], batches: [1], hints: [latency], rounds: 3, round_s: 0.02, max_seconds: 0.1}
"""
COMMANDS = {
    "convert": ("{xml}", "--out", "{out}"),
    "methods": (),
    "compress": ("{small}", "fp16", "--out", "{out}"),
    "sensitivity": ("{fragile}/fragile", "--data", "{fragile}/calibration.npz", "--limit", "4"),
    "devices": (),
    "analyze": ("{small}",),
    "check": ("{small}",),
    "profile": ("{small}", "--seconds", "0.05"),
    "why": ("{small}", "{small}", "--rounds", "3", "--max-seconds", "0.1"),
    "evaluate": ("{small}", "--data", "noise:4", "--baseline", "{small}"),
    "sweep": ("{small}", *QUICK, "--out", "{out}"),
    "report": ("{swept}", "--out", "{out}"),
    "choose": ("{swept}",),
    "compare": ("{swept}", "{again}"),
    "deploy": ("--verify", "{bundle}", "--no-latency"),
    "run": ("{recipe}", "--out", "{out}"),
    "fleet status": ("{fleet}",),
    "recipes list": (),
    "recipes check": ("efficientnet-lite0",),
}
"""Arguments of each verb that has the option ``--json``."""

STEADY = {"convert", "methods", "compress", "analyze", "report", "choose", "compare"}
"""Verbs whose documents do not depend on a measurement or on the machine."""
MARKS = {
    **{verb: [pytest.mark.slow] for verb in ("deploy", "sensitivity", "report", "sweep", "run")},
    "fleet status": [needs_dask],
}


def list_verbs_with_json():
    """Yield the verbs that have the option, by introspection."""
    for verbs in VERBS.values():
        for verb in verbs:
            command = load_command(verb)
            children = getattr(command, "commands", {"": command})
            for name, child in children.items():
                if any(p.name == "json" for p in child.params):
                    yield f"{verb} {name}".strip()


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The same sweep as ``swept`` in another folder."""
    return sweeps.whole(tmp_path_factory.mktemp("sweeps") / "again", batches=(1, 2))


@pytest.fixture
def status_fleet(start_fleet):
    """The address of a fleet with a host."""
    fleet = start_fleet()
    fleet.join("a", site="lab")
    return fleet.address


@pytest.fixture
def document(ovtool, small, swept, again, fragile, tmp_path, request):
    """Return the JSON document that a verb prints."""

    def run(verb):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(RECIPE.replace("MODEL", str(small.xml)))
        fleet = request.getfixturevalue("status_fleet") if verb == "fleet status" else None
        bundle = request.getfixturevalue("deployed").bundle if verb == "deploy" else None
        values = {
            "small": small.folder, "xml": small.xml, "swept": swept, "again": again,
            "fragile": fragile, "recipe": recipe, "out": tmp_path / "out",
            "fleet": fleet, "bundle": bundle,
        }  # fmt: skip
        arguments = [argument.format(**values) for argument in COMMANDS[verb]]
        ran = ovtool(*verb.split(), *arguments, "--json")
        assert ran.status == 0, ran.err
        return ran.document

    return run


def test_every_verb_with_the_option_is_tested():
    assert set(list_verbs_with_json()) == {*COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb",
    [pytest.param(v, marks=MARKS.get(v, ())) for v in COMMANDS],
)
def test_a_document_has_the_version_of_its_schema(document, verb, record_property):
    printed = document(verb)
    fields = describe(printed)
    record_property("fields", (verb, fields))
    assert next(iter(printed.items())) == ("schema", JSON_SCHEMA)
    assert len(printed) > 1
    if not STORED.exists():  # it is being written
        return
    stored = json.loads(STORED.read_text(encoding="utf-8"))[verb]
    names = {path for path in fields if verb in STEADY or not set(path) & set(".[")}
    assert names - set(stored) == set(), "python -m tests.cli.json_fields"
    assert {path for path in stored if not set(path) & set(".[")} == set(printed)
