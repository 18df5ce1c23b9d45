import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.host import Unknown
from ovtool.measure.energy import Energy, Meter

RAPL = "sys/class/powercap/"


@pytest.fixture
def machine(tmp_path):
    def write(files):
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{content}\n")
        return tmp_path

    return write


def package(number=0, value=1000, prefix="intel-rapl", name=None):
    folder = f"{RAPL}{prefix}:{number}/"
    return {
        folder + "name": name or f"package-{number}",
        folder + "energy_uj": value,
        folder + "max_energy_range_uj": 2_000_000,
    }


def card(number, vendor="0x8086", value=None, driver="i915"):
    device = f"sys/class/drm/card{number}/device/"
    files = {device + "vendor": vendor}
    if value is not None:
        files |= {
            device + "hwmon/hwmon3/name": driver,
            device + "hwmon/hwmon3/energy1_input": value,
        }
    return files


def test_the_processor_is_counted_by_the_sum_of_its_packages(machine):
    parts = {f"{RAPL}intel-rapl:0:0/name": "core", f"{RAPL}intel-rapl:0:0/energy_uj": 7}
    psys = package(2, name="psys")
    root = machine(package(0, 1000) | package(1, 500) | parts | psys)
    meter = Meter.for_device(root, "CPU")
    assert meter.source == "RAPL package-0+package-1"
    before = meter.read()
    machine(package(0, 1_001_000) | package(1, 500_500))
    assert meter.read().since(before) == pytest.approx(1.5)


def test_the_same_package_is_not_counted_twice(machine):
    both = package() | package(prefix="intel-rapl-mmio")
    assert len(Meter.for_device(machine(both), "CPU").counters) == 1
    alone = machine(package(prefix="intel-rapl-mmio"))
    assert Meter.for_device(alone, "CPU").source == "RAPL package-0"


@given(st.lists(st.integers(0, 999_999), min_size=1, max_size=30), st.integers(0, 1_999_999))
def test_energy_is_counted_across_every_wrap(spent, start):
    """Each reading comes before the counter has wrapped twice."""
    value, total = start, 0.0
    for one in spent:
        before = Energy((value,), (2_000_000,))
        value = (value + one) % 2_000_000
        total += Energy((value,), (2_000_000,)).since(before)
    assert total == pytest.approx(sum(spent) / 1e6)


def test_a_graphics_card_has_a_counter_of_its_own(machine):
    files = package() | card(0, "0x10de", 5) | card(1, value=100) | card(10, value=300, driver="xe")
    files[f"{'sys/class/drm/'}card1-DP-1/status"] = "connected"
    root = machine(files)
    first, second = Meter.for_device(root, "GPU.0"), Meter.for_device(root, "GPU.1")
    assert (first.source, second.source) == ("hwmon i915 of card1", "hwmon xe of card10")
    assert second.read() == Energy((300,), (None,))
    assert Meter.for_device(root, "GPU") == first


@pytest.mark.parametrize("device", ["GPU", "NPU"])
def test_what_is_built_in_is_counted_with_the_whole_processor_and_says_so(machine, device):
    meter = Meter.for_device(machine(package() | card(0)), device)
    assert meter.source == "RAPL package-0, the whole processor"


def test_an_npu_with_a_counter(machine):
    files = {
        "sys/class/accel/accel0/device/hwmon/hwmon1/name": "intel_vpu",
        "sys/class/accel/accel0/device/hwmon/hwmon1/energy1_input": 12,
    }
    assert Meter.for_device(machine(files), "NPU").source == "hwmon intel_vpu of accel0"


@pytest.mark.parametrize("device", ["CPU", "GPU", "NPU"])
def test_without_a_counter_there_is_the_reason(tmp_path, device):
    found = Meter.for_device(tmp_path, device)
    assert found == Unknown("no package domain of RAPL below /sys/class/powercap")


def test_a_device_of_several_has_no_counter(machine):
    found = Meter.for_device(machine(package()), "AUTO")
    assert "several devices" in found.because


def test_a_counter_that_may_not_be_read_says_how_to_allow_it(machine, monkeypatch):
    root = machine(package())

    def refuse(path, *_, **__):
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, "Permission denied")
        return path.read_bytes().decode()

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    found = Meter.for_device(root, "CPU")
    assert "Permission denied: sudo chmod a+r " in found.because


@pytest.mark.parametrize("missing", ["max_energy_range_uj", "energy_uj"])
def test_a_counter_without_its_range_or_value_is_unknown(machine, missing):
    root = machine(package())
    (root / f"{RAPL}intel-rapl:0/{missing}").unlink()
    assert missing in Meter.for_device(root, "CPU").because


def test_a_counter_that_goes_away_is_unknown(machine):
    root = machine(package())
    meter = Meter.for_device(root, "CPU")
    (root / f"{RAPL}intel-rapl:0/energy_uj").write_text("gone")
    assert isinstance(meter.read(), Unknown)
