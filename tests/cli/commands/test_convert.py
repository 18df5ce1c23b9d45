"""``ovtool convert``."""


def test_convert_prints_the_variant(ovtool, small, tmp_path):
    out = tmp_path / "fp32"
    ran = ovtool("convert", small.xml, "--out", out, "--json")
    assert ran.status == 0
    assert (ran.document["name"], ran.document["folder"]) == ("fp32", str(out))
    assert ran.err
    again = ovtool("convert", small.xml, "--out", out, "--force")
    assert again.out.startswith(f"{out}: fp32, ")
