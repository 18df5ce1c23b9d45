"""Jobs of queue systems: the program of the documentation, without a cluster."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ovtool.cli.command import load_command
from tests.docs.blocks import read_blocks
from tests.fleet.conftest import needs_dask

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "fleet.md"
(PROGRAM,) = (b.body for b in read_blocks(PAGE) if b.language == "python")


def parse(words):
    """Return what the command line reads from the words of a worker."""
    assert words[:3] == ["ovtool", "fleet", "worker"]
    child = load_command("fleet").commands["worker"]
    return child.make_context("worker", list(words[3:])).params


@needs_dask
@pytest.mark.skipif(sys.platform == "win32", reason="queue systems run shell scripts")
@pytest.mark.parametrize(
    ("system", "job", "directive", "more", "head"),
    [
        ("slurm", "SLURMJob", "--exclusive", "",
         {"#SBATCH --cpus-per-task=8", "#SBATCH -t 04:00:00",
          "#SBATCH --exclusive"}),
        ("pbs", "PBSJob", "-l place=excl", "",
         {"#PBS -l walltime=04:00:00", "#PBS -l place=excl"}),
        ("lsf", "LSFJob", "-x", "use_stdin=True, ",
         {"#BSUB -n 8", "#BSUB -W 04:00", "#BSUB -x"}),
    ],
)  # fmt: skip
def test_the_documented_script_starts_a_worker(
    tmp_path, monkeypatch, system, job, directive, more, head
):
    monkeypatch.chdir(tmp_path)
    program = PROGRAM.replace("dask_jobqueue.slurm", f"dask_jobqueue.{system}")
    program = program.replace("SLURMJob(", f"SLURMJob({more}").replace("SLURMJob", job)
    if system == "lsf":
        program = program.replace("04:00:00", "04:00")
    exec(program.replace("--exclusive", directive), {})
    script = tmp_path / "host.sh"
    lines = script.read_text().splitlines()
    assert head <= set(lines)
    seen = tmp_path / "seen"
    stub = tmp_path / "bin" / "ovtool"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\nprintf '%s\\n' ovtool \"$@\" > {seen}\n")
    stub.chmod(0o755)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", str(script)], check=True, env={**os.environ, "PATH": path})
    read = parse(seen.read_text().splitlines())
    assert (read["address"], read["name"]) == ("tls://10.0.0.5:8786", socket.gethostname())
    assert (list(read["label"]), read["attempts"]) == (["queue=slurm"], 30)


@needs_dask
def test_the_line_of_a_cluster_of_dask_does_not_fit():
    from dask_jobqueue.slurm import SLURMJob

    job = SLURMJob("tls://10.0.0.5:8786", name="a", cores=8, memory="16GB", python="python",
                   worker_command="ovtool fleet worker")  # fmt: skip
    words = job.job_script().splitlines()[-1].split()
    assert words[:2] == ["python", "-m"]
    with pytest.raises(Exception, match=r"No such option.*--nthreads"):
        parse(words[2:])
