import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.system.energy import Counter, Meter, find_counters
from ovtool.system.host import Unknown

RAPL = "sys/class/powercap/"


def rapl(zone, name, energy_uj=0, range_uj=1000):
    return {
        f"{RAPL}{zone}/name": f"{name}\n",
        f"{RAPL}{zone}/energy_uj": f"{energy_uj}\n",
        f"{RAPL}{zone}/max_energy_range_uj": f"{range_uj}\n",
    }


def card(name, vendor="0x8086", slot="0000:03:00.0", folder="drm"):
    device = f"sys/class/{folder}/{name}/device/"
    return {
        f"{device}vendor": f"{vendor}\n",
        f"{device}uevent": f"DRIVER=i915\nPCI_SLOT_NAME={slot}\nMODALIAS=x\n",
    }


def hwmon(name, driver, energy_uj=0, monitor="hwmon3", file="energy1_input", folder="drm"):
    inside = f"sys/class/{folder}/{name}/device/hwmon/{monitor}/"
    return {f"{inside}name": f"{driver}\n", f"{inside}{file}": f"{energy_uj}\n"}


INTEGRATED = card("card0", slot="0000:00:02.0")
PACKAGE = rapl("intel-rapl:0", "package-0", 7)


def paths(root, device):
    return [c.path.relative_to(root).as_posix() for c in find_counters(root, device).counters]


def joules(meter, write, *readings):
    """The energy from a first reading to the last, with the files written before each."""
    first = meter.read()
    for files in readings:
        write(files)
        last = meter.read()
    return (last - first) / 1e6


def test_packages_are_summed_without_subdomains_and_psys(tree):
    root = tree(
        rapl("intel-rapl:0", "package-0")
        | rapl("intel-rapl:1", "package-1")
        | rapl("intel-rapl:0:0", "core")
        | rapl("intel-rapl:2", "psys")
        | rapl("intel-rapl-mmio:0", "package-0")
        | {f"{RAPL}intel-rapl/enabled": "1\n"}
    )
    result = find_counters(root, "CPU")
    assert result.source == "RAPL package-0+package-1"
    assert paths(root, "CPU") == [f"{RAPL}intel-rapl:{i}/energy_uj" for i in (0, 1)]
    write = [rapl("intel-rapl:0", "package-0", 300) | rapl("intel-rapl:1", "package-1", 50)]
    assert joules(Meter.for_device(root, "CPU"), tree, *write) == pytest.approx(350e-6)


def test_packages_are_in_numeric_order(tree):
    files = {}
    for i in (10, 2, 0):
        files |= rapl(f"intel-rapl:{i}", f"package-{i}")
    assert find_counters(tree(files), "CPU").source == "RAPL package-0+package-2+package-10"


def test_mmio_package_is_read_without_an_msr_package(tree):
    root = tree(rapl("intel-rapl-mmio:0", "package-0"))
    assert paths(root, "CPU") == [f"{RAPL}intel-rapl-mmio:0/energy_uj"]


def test_psys_is_read_without_packages(tree):
    result = find_counters(tree(rapl("intel-rapl:0", "psys")), "CPU")
    assert result.source.startswith("RAPL psys")


def test_system_without_counters_is_unknown(tmp_path):
    result = find_counters(tmp_path, "CPU")
    assert isinstance(result, Unknown)
    assert "/sys/class/powercap" in result.because
    assert isinstance(Meter.for_device(tmp_path, "CPU"), Unknown)


def test_counter_without_a_range_is_unknown(tree):
    """A wrap could not be distinguished from a decrease."""
    root = tree(PACKAGE)
    (root / RAPL / "intel-rapl:0/max_energy_range_uj").unlink()
    result = find_counters(root, "CPU")
    assert isinstance(result, Unknown)
    assert f"/{RAPL}intel-rapl:0/max_energy_range_uj" in result.because


def test_counter_without_permission_is_unknown_with_a_remedy(tree, monkeypatch):
    root, really, closed = tree(PACKAGE | rapl("intel-rapl:1", "package-1")), os.open, []

    def refuse(path, *rest):
        if str(path).endswith("intel-rapl:1/energy_uj"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("ovtool.system.host.OpenFile.close", lambda file: closed.append(file.path))
    result = Meter.for_device(root, "CPU")
    assert isinstance(result, Unknown)
    for value in (f"/{RAPL}intel-rapl:1/energy_uj", "Permission denied", "sudo chmod a+r"):
        assert value in result.because
    assert len(closed) == 1, "the other package's file does not stay open"


def test_counter_that_fails_is_unknown(tree, monkeypatch):
    root = tree(PACKAGE)
    meter = Meter.for_device(root, "CPU")
    tree({f"{RAPL}intel-rapl:0/energy_uj": ""})
    assert "RAPL package-0" in meter.read().because
    tree({f"{RAPL}intel-rapl:0/energy_uj": "9"})
    assert meter.read() == 2, "counted on from the last reading that went well"

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert meter.read() == Unknown("RAPL package-0: Input/output error")
    assert Meter.for_device(root, "CPU") == Unknown("RAPL package-0: Input/output error")


@given(st.integers(1, 10**12), st.data())
def test_energy_across_a_wrap(top, data):
    start = data.draw(st.integers(0, top - 1))
    spent = data.draw(st.integers(0, top - 1))
    counter = Counter("RAPL package-0", Path("x"), top)
    assert counter.used_uj(start, (start + spent) % top) == spent


@given(st.lists(st.lists(st.integers(0, 999), min_size=2, max_size=2), min_size=1, max_size=8))
def test_energy_across_many_wraps(steps):
    """Each package wraps on its own, at most once between two readings."""
    with tempfile.TemporaryDirectory() as folder:
        root, total = Path(folder), [0, 0]

        def write():
            for i in (0, 1):
                zone = root / RAPL / f"intel-rapl:{i}"
                zone.mkdir(parents=True, exist_ok=True)
                for path, content in rapl(zone.name, f"package-{i}", total[i] % 1000).items():
                    (root / path).write_text(content)

        write()
        meter = Meter.for_device(root, "CPU")
        readings = [meter.read()]
        for step in steps:
            total = [a + b for a, b in zip(total, step, strict=True)]
            write()
            readings.append(meter.read())
        meter.close()
    assert readings[-1] - readings[0] == sum(total)
    assert readings[-1] - readings[-2] == sum(steps[-1])


@pytest.mark.parametrize("counter", [Counter("hwmon", Path("x")), Counter("RAPL", Path("x"), 10)])
def test_counter_that_decreases_by_more_than_a_wrap_is_an_error(counter):
    with pytest.raises(ValueError, match=r"100.*5"):
        counter.used_uj(100, 5)


@pytest.mark.parametrize("driver", ["i915", "xe"])
def test_card_with_a_counter(tree, driver):
    root = tree(card("card0") | hwmon("card0", driver, 2**40) | PACKAGE)
    meter = Meter.for_device(root, "GPU")
    assert meter.source == f"hwmon {driver} card0"
    assert joules(meter, tree, hwmon("card0", driver, 2**40 + 5_000_000)) == 5


def test_second_gpu_is_the_second_intel_card(tree):
    root = tree(
        card("card0", vendor="0x10de")
        | hwmon("card0", "other")
        | card("card10")
        | hwmon("card10", "xe")
        | card("card2")
        | hwmon("card2", "i915")
        | card("card2-DP-1")
    )
    for device, source in (("GPU", "i915 card2"), ("GPU.0", "i915 card2"), ("GPU.1", "xe card10")):
        assert find_counters(root, device).source == f"hwmon {source}"
    result = find_counters(root, "GPU.2")
    assert isinstance(result, Unknown)
    for value in ("/sys/class/drm", "2 Intel devices", "GPU.2"):
        assert value in result.because


def test_counters_of_tiles_are_ignored(tree):
    files = hwmon("card0", "i915_gt0", monitor="hwmon1") | hwmon("card0", "i915", monitor="hwmon5")
    root = tree(card("card0") | files)
    assert paths(root, "GPU") == ["sys/class/drm/card0/device/hwmon/hwmon5/energy1_input"]


def test_counter_of_a_cards_package_is_the_fallback(tree):
    root = tree(card("card0") | hwmon("card0", "xe", file="energy2_input"))
    assert find_counters(root, "GPU").source == "hwmon xe card0 (its package)"
    tree(hwmon("card0", "xe"))
    assert find_counters(root, "GPU").source == "hwmon xe card0"


def test_integrated_gpu_without_a_counter_uses_the_package(tree):
    root = tree(INTEGRATED | PACKAGE)
    result = find_counters(root, "GPU.0")
    assert result.source.startswith("RAPL package-0 (")
    assert paths(root, "GPU.0") == [f"{RAPL}intel-rapl:0/energy_uj"]


def test_card_without_a_counter_does_not_use_the_package(tree):
    """The package has nothing to do with what a card draws."""
    result = find_counters(tree(card("card0") | PACKAGE), "GPU")
    assert result == Unknown("/sys/class/drm/card0/device/hwmon has no energy counter")


def test_npu_uses_its_counter_or_the_package(tree):
    npu = card("accel0", slot="0000:00:0b.0", folder="accel")
    root = tree(npu | PACKAGE)
    assert "NPU" in find_counters(root, "NPU").source
    tree(hwmon("accel0", "intel_vpu", folder="accel"))
    assert find_counters(root, "NPU").source == "hwmon intel_vpu accel0"


def test_accelerator_of_another_vendor_is_not_an_npu(tree):
    root = tree(card("accel0", vendor="0x1da3", folder="accel") | PACKAGE)
    result = find_counters(root, "NPU")
    assert isinstance(result, Unknown)
    for value in ("/sys/class/accel", "0 Intel devices", "NPU"):
        assert value in result.because


@pytest.mark.parametrize(("files", "device"), [(INTEGRATED, "GPU"), ({}, "NPU")])
def test_device_without_any_counter_is_unknown(tree, files, device):
    npu = card("accel0", slot="0000:00:0b.0", folder="accel")
    result = find_counters(tree(files | npu), device)
    assert isinstance(result, Unknown)
    for value in (device, "/sys/class/powercap"):
        assert value in result.because


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:GPU,CPU", "MULTI:GPU.1,CPU"])
def test_virtual_device_has_no_counter(tree, device):
    result = find_counters(tree(PACKAGE | INTEGRATED), device)
    assert device in result.because


def test_this_machine_has_energy_or_a_reason():
    meter = Meter.for_device(Path("/"), "CPU")
    if isinstance(meter, Unknown):
        assert meter.because
        return
    assert meter.source.startswith("RAPL")
    assert meter.read() >= 0
    meter.close()
