"""Entry points are found without importing what they point to."""

from __future__ import annotations

import sys

import pytest

from ktrdr.core.plugins.discovery import BACKEND_GROUP, discover


def names_and_states(site, **environ):
    return [(r.name, r.distribution, r.state) for r in discover(BACKEND_GROUP, path=[str(site)], environ=environ)]


def test_a_plugin_is_found_and_not_imported(site, install):
    install("ktrdr-ml-boom", "boom", "raise RuntimeError('imported')")
    assert names_and_states(site) == [("boom", "ktrdr-ml-boom", "available")]
    assert "ktrdr_ml_boom_hooks" not in sys.modules


def test_other_groups_are_left_out(site, install):
    install("ktrdr-say", "say", "", group="ktrdr.commands")
    assert names_and_states(site) == []


def test_one_name_from_two_distributions_is_a_clash_that_names_both(site, install_backend):
    install_backend("ktrdr-ml-one", "same")
    install_backend("ktrdr-ml-two", "same")
    assert names_and_states(site) == [("same", "ktrdr-ml-one", "clash"), ("same", "ktrdr-ml-two", "clash")]
    (first, _) = discover(BACKEND_GROUP, path=[str(site)], environ={})
    assert "ktrdr-ml-one and ktrdr-ml-two" in first.message


def test_the_same_distribution_found_twice_is_no_clash(site, install_backend, tmp_path):
    install_backend("ktrdr-ml-one", "one")
    found = discover(BACKEND_GROUP, path=[str(site), str(site)], environ={})
    assert [record.state for record in found] == ["available"]


def test_name_and_version_are_headers_and_not_lines_of_the_description(site, install):
    install("ktrdr-ml-one", "one", "")
    (info,) = site.glob("*.dist-info")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nVersion: 1.2\nLicense: MIT\n        Name: MIT\nName: ktrdr-ml-one\n\nName: text\n"
    )
    (found,) = discover(BACKEND_GROUP, path=[str(site)], environ={})
    assert (found.distribution, found.version) == ("ktrdr-ml-one", "1.2")
    (info / "METADATA").unlink()
    (found,) = discover(BACKEND_GROUP, path=[str(site)], environ={})
    assert found.origin == "unknown unknown"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ("Name: one\nVersion: 1\nName: two\nVersion: 2\n", "one 1"),
        ("Name: one\r\nVersion: 1\r\n\r\nVersion: 2\r\n", "one 1"),
        ("Name:\nVersion: \n", "unknown unknown"),
        ("Summary: a\u2028Name: two\x0cName: two\u0085\nName: one\nversion: 1\n", "one 1"),
        ("Name one\nVersion: 1\n", "unknown 1"),
    ],
)
def test_headers_are_read_as_those_of_an_email(site, install, headers, origin):
    install("ktrdr-ml-one", "one", "")
    (info,) = site.glob("*.dist-info")
    (info / "METADATA").write_bytes(headers.encode())
    (found,) = discover(BACKEND_GROUP, path=[str(site)], environ={})
    assert found.origin == origin


def test_the_block_list(site, install_backend):
    install_backend("ktrdr-ml-one", "one")
    install_backend("ktrdr-ml-two", "two")
    blocked = names_and_states(site, KTRDR_BLOCK_PLUGINS=" two ,three")
    assert [state for _, _, state in blocked] == ["available", "blocked"]


def test_the_allow_list(site, install_backend):
    install_backend("ktrdr-ml-one", "one")
    install_backend("ktrdr-ml-two", "two")
    allowed = names_and_states(site, KTRDR_LOAD_PLUGINS="two")
    assert [state for _, _, state in allowed] == ["blocked", "available"]
    assert names_and_states(site, KTRDR_LOAD_PLUGINS="")[0][2] == "available"
