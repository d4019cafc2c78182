from __future__ import annotations

import pytest

from local import debian

DEB822 = """\
Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
NODE = """\
Types: deb
URIs: https://deb.nodesource.com/node_20.x
Suites: nodistro
Components: main
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, debian.DEFAULT_MIRROR, id="no sources"),
        pytest.param({"sources.list.d/debian.sources": DEB822}, "http://mirror.example/debian", id="deb822"),
        pytest.param(
            {"sources.list": "# c\ndeb http://one.example/debian/ trixie main contrib # x\n"},
            "http://one.example/debian/",
            id="one line",
        ),
        pytest.param(
            {
                "sources.list": "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
                "https://proxy.example/apt/deb bookworm main\n"
            },
            "https://proxy.example/apt/deb",
            id="options and a mirror of another name",
        ),
        pytest.param(
            {
                "sources.list": "deb https://download.docker.com/linux/debian bookworm stable\n"
                "deb https://packages.sury.org/php/ bookworm main\n"
                "deb https://packages.cloud.google.com/apt cloud-sdk-bookworm main\n"
                "deb-src http://src.example/debian bookworm main\n",
                "sources.list.d/node.sources": NODE,
            },
            debian.DEFAULT_MIRROR,
            id="other vendors only",
        ),
        pytest.param(
            {"sources.list.d/debian.sources": DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n", 1)},
            debian.DEFAULT_MIRROR,
            id="switched off",
        ),
    ],
)
def test_mirror_is_the_one_that_apt_uses_for_debian(tmp_path, files, expected):
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert debian.mirror(tmp_path) == expected


def test_deb822_fields_may_go_over_several_lines():
    places = "URIs:\n http://a.example/debian\n http://b.example/debian\n"
    text = f"Types: deb\n{places}Suites: sid\nComponents: main\n"
    assert [source.uri for source in debian.parse_deb822(text)] == [
        "http://a.example/debian",
        "http://b.example/debian",
    ]


def test_prune_empties_dev_and_removes_what_nothing_reads(tmp_path):
    (tmp_path / "dev" / "pts").mkdir(parents=True)
    (tmp_path / "dev" / "fd").symlink_to("/proc/self/fd")
    (tmp_path / "usr" / "share" / "doc").mkdir(parents=True)
    (tmp_path / "usr" / "bin").mkdir()
    debian.prune(tmp_path, ("usr/share/doc", "not/there"))
    assert not list((tmp_path / "dev").iterdir())
    assert not (tmp_path / "usr" / "share" / "doc").exists()
    assert (tmp_path / "usr" / "bin").exists()
