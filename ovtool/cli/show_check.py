"""How trial compiles are printed, and what installing the NPU's compiler means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.core import units
from ovtool.core.shapes import shapes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compile_check.npu.install import Offer
    from ovtool.compile_check.suspects import Search, Suspect
    from ovtool.compile_check.trial_compiles import CompileCheck

ESTIMATE = "compiler's estimate, ms"
_FIGURES = ("compiled size, MiB", "compile, s", ESTIMATE)


def checks(found: Sequence[CompileCheck], *, json: bool) -> None:
    """Print trial compiles of one variant."""
    if json:
        terminal.answer_json([check.to_json() for check in found])
        return
    rows = [
        (
            check.device,
            "yes" if check.compiles else "no",
            units.text(check.blob_mib),
            units.text(check.compile_s),
            units.text(check.compiler_estimate_ms),
        )
        for check in found
    ]
    first = found[0]
    caption = f"{first.variant}, {shapes_text(first.shapes)}: a trial compile, nothing was run."
    if any(check.compiler_estimate_ms is not None for check in found):
        caption += " The estimate is the compiler's own of one inference, no measurement."
    if split := [check.device for check in found if check.of_one_sample]:
        caption += (
            f" On {', '.join(split)} the plugin runs a batch sample by sample: size and estimate"
            " are of one sample."
        )
    terminal.table(("device", "compiles", *_FIGURES), rows, caption, right=_FIGURES)
    for by in dict.fromkeys(check.by for check in found):
        names = ", ".join(check.device for check in found if check.by == by)
        _say(f"{names}: by {by}")
    for check in found:
        if not check.compiles:
            _failed(check)


def _say(text: str) -> None:
    terminal.say(terminal.console(), text)


def _failed(check: CompileCheck) -> None:
    _say(f"\n{check.device} does not compile it: {check.error}.")
    if check.search is not None:
        _suspects(check.search)
    _say(f"  The compiler says: {check.said}")
    _say(f"  What to do: {check.remedy}.")


def _suspects(search: Search) -> None:
    for suspect in search.suspects:
        _say(f"  - {_described(suspect)}")
    if search.suspects:
        rest = " Everything else compiles." if search.rest_compiles else ""
        tried = f"{search.compiles} parts of the graph were compiled to find that."
        _say(f"  {tried}{rest}")
    if search.note:
        _say(f"  {search.note[0].upper()}{search.note[1:]}.")


def _described(suspect: Suspect) -> str:
    named = f"{suspect.type} {suspect.name!r}"
    if not suspect.alone:
        return f"{named}: fails only together with the operations from {suspect.since!r} on"
    more = f"; {suspect.alike} more of its type, not tried" if suspect.alike else ""
    return f"{named}: fails by itself{more}"


def offer(found: Offer) -> None:
    """Print what installing the NPU's compiler downloads, from where, how large, its licence."""
    shown = terminal.console(stderr=True)
    terminal.say(shown, "This downloads through pip:")
    for one in found.downloads:
        size = "size not told" if one.size_mib is None else f"{units.text(one.size_mib)} MiB"
        terminal.say(shown, f"- {one.name}, {size}, licence {one.licence}: {one.purpose}")
        terminal.say(shown, f"  from {one.url}")
    if found.compiler:
        terminal.say(shown, f"A small program is built with {found.compiler}.")
    terminal.say(shown, f"It is installed into {found.target}")
