import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.system.energy import Counter, Energy, Meter, counters
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
    return [c.path.relative_to(root).as_posix() for c in counters(root, device).counters]


def joules(meter, write, *readings):
    """The energy from a first reading to the last, with the files written before each."""
    first = meter.read()
    for files in readings:
        write(files)
        last = meter.read()
    return last.since(first)


def test_packages_are_summed_and_nothing_that_they_include_or_are_included_in(tree):
    root = tree(
        rapl("intel-rapl:0", "package-0")
        | rapl("intel-rapl:1", "package-1")
        | rapl("intel-rapl:0:0", "core")
        | rapl("intel-rapl:2", "psys")
        | rapl("intel-rapl-mmio:0", "package-0")
        | {f"{RAPL}intel-rapl/enabled": "1\n"}
    )
    found = counters(root, "CPU")
    assert found.source == "RAPL package-0+package-1"
    assert paths(root, "CPU") == [f"{RAPL}intel-rapl:{i}/energy_uj" for i in (0, 1)]
    write = [rapl("intel-rapl:0", "package-0", 300) | rapl("intel-rapl:1", "package-1", 50)]
    assert joules(Meter.for_device(root, "CPU"), tree, *write) == pytest.approx(350e-6)


def test_packages_are_in_the_order_of_their_numbers(tree):
    files = {}
    for i in (10, 2, 0):
        files |= rapl(f"intel-rapl:{i}", f"package-{i}")
    assert counters(tree(files), "CPU").source == "RAPL package-0+package-2+package-10"


def test_the_memory_mapped_package_is_read_where_there_is_no_other(tree):
    root = tree(rapl("intel-rapl-mmio:0", "package-0"))
    assert paths(root, "CPU") == [f"{RAPL}intel-rapl-mmio:0/energy_uj"]


def test_the_whole_machine_is_named_as_that_where_no_package_is_told(tree):
    found = counters(tree(rapl("intel-rapl:0", "psys")), "CPU")
    assert found.source == "RAPL psys (the whole machine)"


def test_a_system_without_counters_says_so(tmp_path):
    assert counters(tmp_path, "CPU") == Unknown("/sys/class/powercap has no package of RAPL")
    assert isinstance(Meter.for_device(tmp_path, "CPU"), Unknown)


def test_a_counter_without_its_range_is_unknown(tree):
    """A difference across the wrap could not be told from a negative one."""
    root = tree(PACKAGE)
    (root / RAPL / "intel-rapl:0/max_energy_range_uj").unlink()
    found = counters(root, "CPU")
    assert found == Unknown(f"/{RAPL}intel-rapl:0/max_energy_range_uj is not there")


def test_a_counter_that_may_not_be_read_is_unknown_with_the_remedy(tree, monkeypatch):
    root, really, closed = tree(PACKAGE | rapl("intel-rapl:1", "package-1")), os.open, []

    def refuse(path, *rest):
        if str(path).endswith("intel-rapl:1/energy_uj"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("ovtool.system.host.OpenFile.close", lambda file: closed.append(file.path))
    path = f"/{RAPL}intel-rapl:1/energy_uj"
    assert Meter.for_device(root, "CPU") == Unknown(
        f"{path}: Permission denied; readable by root only: sudo chmod a+r it"
    )
    assert len(closed) == 1, "the other package's file does not stay open"


def test_a_counter_that_fails_is_unknown_and_never_0(tree, monkeypatch):
    root = tree(PACKAGE)
    meter = Meter.for_device(root, "CPU")
    tree({f"{RAPL}intel-rapl:0/energy_uj": ""})
    assert "RAPL package-0" in meter.read().because
    tree({f"{RAPL}intel-rapl:0/energy_uj": "9"})
    assert meter.read() == Energy(2), "counted on from the last reading that went well"

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert meter.read() == Unknown("RAPL package-0: Input/output error")
    assert Meter.for_device(root, "CPU") == Unknown("RAPL package-0: Input/output error")


@given(st.integers(1, 10**12), st.data())
def test_energy_is_counted_across_a_wrap(top, data):
    start = data.draw(st.integers(0, top - 1))
    spent = data.draw(st.integers(0, top - 1))
    counter = Counter("RAPL package-0", Path("x"), top)
    assert counter.spent_uj(start, (start + spent) % top) == spent


@given(st.lists(st.lists(st.integers(0, 999), min_size=2, max_size=2), min_size=1, max_size=8))
def test_energy_is_counted_across_many_wraps_between_many_readings(steps):
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
    assert readings[-1].since(readings[0]) == pytest.approx(sum(total) / 1e6)
    assert readings[-1].since(readings[-2]) == pytest.approx(sum(steps[-1]) / 1e6)


@pytest.mark.parametrize("counter", [Counter("hwmon", Path("x")), Counter("RAPL", Path("x"), 10)])
def test_a_counter_that_goes_back_by_more_than_a_wrap_is_an_error(counter):
    with pytest.raises(ValueError, match="went back from 100 to 5"):
        counter.spent_uj(100, 5)


@pytest.mark.parametrize("driver", ["i915", "xe"])
def test_a_card_has_its_own_counter(tree, driver):
    root = tree(card("card0") | hwmon("card0", driver, 2**40) | PACKAGE)
    meter = Meter.for_device(root, "GPU")
    assert meter.source == f"hwmon {driver} card0"
    assert joules(meter, tree, hwmon("card0", driver, 2**40 + 5_000_000)) == 5


def test_the_second_gpu_is_the_second_intel_card(tree):
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
        assert counters(root, device).source == f"hwmon {source}"
    found = counters(root, "GPU.2")
    assert found == Unknown("/sys/class/drm has 2 Intel devices: none is GPU.2")


def test_the_counter_of_a_card_is_not_that_of_its_tiles(tree):
    files = hwmon("card0", "i915_gt0", monitor="hwmon1") | hwmon("card0", "i915", monitor="hwmon5")
    root = tree(card("card0") | files)
    assert paths(root, "GPU") == ["sys/class/drm/card0/device/hwmon/hwmon5/energy1_input"]


def test_where_only_the_package_of_a_card_is_counted_it_is_said(tree):
    root = tree(card("card0") | hwmon("card0", "xe", file="energy2_input"))
    assert counters(root, "GPU").source == "hwmon xe card0 (its package)"
    tree(hwmon("card0", "xe"))
    assert counters(root, "GPU").source == "hwmon xe card0"


def test_an_integrated_gpu_without_a_counter_takes_the_package_and_says_so(tree):
    root = tree(INTEGRATED | PACKAGE)
    found = counters(root, "GPU.0")
    assert found.source.startswith("RAPL package-0 (the whole package")
    assert paths(root, "GPU.0") == [f"{RAPL}intel-rapl:0/energy_uj"]


def test_a_card_without_a_counter_does_not_take_the_package(tree):
    """The package has nothing to do with what a card draws."""
    found = counters(tree(card("card0") | PACKAGE), "GPU")
    assert found == Unknown("/sys/class/drm/card0/device/hwmon has no energy counter")


def test_an_npu_takes_its_own_counter_or_the_package(tree):
    npu = card("accel0", slot="0000:00:0b.0", folder="accel")
    root = tree(npu | PACKAGE)
    assert "the whole package" in counters(root, "NPU").source
    tree(hwmon("accel0", "intel_vpu", folder="accel"))
    assert counters(root, "NPU").source == "hwmon intel_vpu accel0"


def test_another_makers_accelerator_is_no_npu(tree):
    root = tree(card("accel0", vendor="0x1da3", folder="accel") | PACKAGE)
    found = counters(root, "NPU")
    assert found == Unknown("/sys/class/accel has 0 Intel devices: none is NPU")


@pytest.mark.parametrize(("files", "device"), [(INTEGRATED, "GPU"), ({}, "NPU")])
def test_without_rapl_a_device_without_a_counter_is_unknown(tree, files, device):
    npu = card("accel0", slot="0000:00:0b.0", folder="accel")
    found = counters(tree(files | npu), device)
    assert found == Unknown(
        f"{device} has no energy counter of its own; /sys/class/powercap has no package of RAPL"
    )


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:GPU,CPU", "MULTI:GPU.1,CPU"])
def test_a_virtual_device_has_no_counter(tree, device):
    found = counters(tree(PACKAGE | INTEGRATED), device)
    assert "several devices" in found.because


def test_this_machine_tells_its_energy_or_why_not():
    meter = Meter.for_device(Path("/"), "CPU")
    if isinstance(meter, Unknown):
        assert meter.because
        return
    assert meter.source.startswith("RAPL")
    assert meter.read().since(Energy(0)) >= 0
    meter.close()
