"""The templates for CI run: their commands, in a repository with a base and a changed head."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import openvino as ov
import pytest
from ruamel.yaml import YAML

from tests.helpers import graphs

TEMPLATES = Path(__file__).parents[2] / "docs" / "ci"
RECIPE = """
recipe: 1
name: own
about: a model of a repository
model: {source: model.xml}
variants: {fp32: {}}
sweep: {devices: [CPU], batches: [1], hints: [latency], rounds: 3, round_s: 0.05, max_seconds: 1}
"""


def github_commands():
    job = YAML(typ="safe").load(TEMPLATES / "github.yml")["jobs"]["compare"]
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab_commands():
    job = YAML(typ="safe").load(TEMPLATES / "gitlab.yml")["ovtool"]
    return [*job["before_script"], *job["script"]]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the templates are for Unix shells")
@pytest.mark.parametrize(
    ("commands", "project"), [(github_commands, "head"), (gitlab_commands, ".")]
)
def test_the_commands_of_a_template_compare_base_and_head(tmp_path, commands, project):
    work = tmp_path / "work"
    repository = work / project
    repository.mkdir(parents=True)

    def git(*arguments):
        name = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
        done = subprocess.run(
            ["git", *name, *arguments], cwd=repository, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    (repository / "recipe.yaml").write_text(RECIPE)
    ov.save_model(graphs.convolutional(), repository / "model.xml", compress_to_fp16=False)
    git("add", "-A")
    git("commit", "-qm", "base")
    base = git("rev-parse", "HEAD")
    if project == "head":
        git("worktree", "add", "-q", str(work / "base"), base)
    else:
        git("remote", "add", "origin", str(repository))
    ov.save_model(graphs.convolutional(seed=1), repository / "model.xml", compress_to_fp16=False)
    git("commit", "-qam", "head")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, program in [("pip", "exit 0"), ("ovtool", f'exec {sys.executable} -m ovtool "$@"')]:
        (tools / name).write_text(f"#!/bin/sh\n{program}\n")
        (tools / name).chmod(0o755)
    summary = tmp_path / "summary.md"
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(TEMPLATES.parents[1]),
        "RECIPE": "recipe.yaml",
        "LIMIT": "95%",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
        "CI_PROJECT_DIR": str(work),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    for command in commands():
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=work,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    suite = ElementTree.parse(work / "change.xml").getroot()
    assert int(suite.get("tests")) > 0
    assert (work / "change.md").is_file()
    assert summary.is_file() == (project == "head")
