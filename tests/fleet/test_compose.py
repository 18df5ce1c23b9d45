"""The containers of the fleet of docker/compose.fleet.yaml: their commands, files and hosts."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ovtool.cli.command import load_command
from ovtool.fleet.hosts import parse_labels, read_hosts

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = YAML(typ="safe").load(DOCKER / "compose.fleet.yaml")
SERVICES = COMPOSE["services"]
HOSTS = ("alpha", "beta", "gamma")


def options(command):
    """Return what the command line reads from a command."""
    group, verb, *words = command
    child = load_command(group).commands[verb]
    return child.make_context(verb, words).params


def mounts(service):
    parts = [volume.removesuffix(":ro").rpartition(":") for volume in service["volumes"]]
    return {target: source for source, _, target in parts}


@pytest.mark.parametrize("name", HOSTS)
def test_a_container_is_a_host_with_its_own_cache_and_labels(name):
    service = SERVICES[name]
    given = options(service["command"])
    assert given["name"] == name
    assert parse_labels(given["label"])["site"] in ("lab", "edge")
    assert mounts(service)[given["cache"]] == name
    assert given["address"] == read_hosts(DOCKER / "fleet-hosts.yaml").listen
    assert set(mounts(service).values()) <= set(COMPOSE["volumes"])
    assert service["depends_on"]["certificates"]["condition"] == "service_completed_successfully"


def test_every_container_reads_the_certificates_that_the_first_one_writes():
    (written,) = {
        word for word in SERVICES["certificates"]["entrypoint"][-1].split() if "--out" not in word
        and word.startswith("/certificates")
    }  # fmt: skip
    assert written == read_hosts(DOCKER / "fleet-hosts.yaml").certificates
    for name in HOSTS:
        assert options(SERVICES[name]["command"])["certificates"] == written
    assert all("certificates" in mounts(s).values() for s in SERVICES.values())


def test_the_scheduler_reads_the_hosts_file():
    scheduler = SERVICES["scheduler"]
    given = options(scheduler["command"])
    assert mounts(scheduler)[given["hosts"]] == "./fleet-hosts.yaml"
    assert read_hosts(DOCKER / "fleet-hosts.yaml").listen.startswith("tls://scheduler:")


def test_the_image_has_the_extra_and_the_folders():
    assert "fleet" in SERVICES["alpha"]["build"]["args"]["EXTRAS"]
    dockerfile = (DOCKER / "Dockerfile").read_text()
    (made,) = [line for line in dockerfile.splitlines() if "&& chown" in line]
    targets = {t for s in SERVICES.values() for t in mounts(s)}
    assert targets - {"/fleet/hosts.yaml", "/models"} <= set(made.split())
