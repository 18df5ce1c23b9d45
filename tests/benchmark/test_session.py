"""The interface of runners and sessions, which the engine relies on."""

import inspect

import pytest

from ovtool.benchmark import fake, process, session


def methods(interface):
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(interface, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("interface", "implementation"),
    [
        (session.Runner, process.ProcessRunner),
        (session.Runner, fake.FakeRunner),
        (session.Session, process.ProcessSession),
        (session.Session, fake.FakeSession),
    ],
)
def test_implementations_take_the_arguments_of_the_interface(interface, implementation):
    expected = methods(interface)
    assert expected
    for name, signature in expected.items():
        actual = methods(implementation)[name]
        assert [(p.name, p.kind, p.default) for p in actual.parameters.values()] == [
            (p.name, p.kind, p.default) for p in signature.parameters.values()
        ], name
