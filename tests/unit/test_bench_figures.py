"""Tables, pictures and the page that benchmarks are written to."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests.bench import plot, report
from tests.bench.figures import Run, row, table, worst
from tests.bench.records import Mark, Outcome, Result, Span, Write, summarise

SVG = "{http://www.w3.org/2000/svg}"


def result(gap_ms: float = 25.0) -> Result:
    """Three seconds of one shard, with a gap in the middle."""
    ends = [0.025 * number for number in range(1, 121)]
    writes = [
        Write(0, 0, number, end - 0.001, end, Outcome.ACKNOWLEDGED)
        for number, end in enumerate(ends)
        if not 1.0 < end < 1.0 + gap_ms / 1000
    ]
    found = summarise(writes, Span(0.0, 3.05), 1)
    return replace(found, marks=(Mark(1.0, "begins"), Mark(2.0, "done <ok>")))


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  our own text


def run(seconds: float, gap_ms: float = 25.0, lost: int = 0) -> Run:
    return Run(seconds / 2, seconds, 1, 6, lost, result(gap_ms))


def test_a_row_has_minimum_median_and_maximum():
    assert row("gap, ms", [3.0, 1.0, 10.0, 2.0], 1) == "| gap, ms | 1.0 | 2.5 | 10.0 |"
    assert row("lost", [0, 0, 7]) == "| lost | 0 | 0 | 7 |"


def test_the_table_of_some_runs():
    assert table([run(10.0), run(30.04, 400.0), run(20.0)]).splitlines() == [
        "| 3 runs | min | median | max |",
        "|---|---|---|---|",
        "| in effect on every pod after, s | 5.0 | 10.0 | 15.0 |",
        "| done by its status after, s | 10.0 | 20.0 | 30.0 |",
        "| longest gap of a shard, ms | 50 | 50 | 400 |",
        "| p99 of a write, ms | 1.0 | 1.0 | 1.0 |",
        "| availability, % | 96.43 | 100.00 | 100.00 |",
        "| writes acknowledged | 105 | 120 | 120 |",
        "| writes refused for 1 s | 0 | 0 | 0 |",
        "| writes without an answer | 0 | 0 | 0 |",
        "| **acknowledged writes lost** | 0 | 0 | 0 |",
        "| pods replaced | 6 | 6 | 6 |",
        "| containers restarted | 1 | 1 | 1 |",
        "| longest stall of the measuring process, ms | 0 | 0 | 0 |",
    ]


def test_the_run_with_the_longest_gap_is_drawn():
    assert worst([run(10), run(20, 400), run(30, 100)]).seconds == 20


def test_a_picture_is_the_same_for_the_same_run_and_well_formed():
    text = plot.svg(result(400.0), "roll & more")
    assert text == plot.svg(result(400.0), "roll & more")
    root = parsed(text)
    assert root.find(f"{SVG}title").text == "roll & more"
    said = [one.text for one in root.iter(f"{SVG}text")]
    assert {
        "writes acknowledged per 100 ms",
        "longest gap under way, ms",
        "seconds since the traffic began",
    } <= set(said)
    assert [one for one in said if one.endswith(" s")] == ["begins 1.0 s", "done <ok> 2.0 s"]
    assert len(list(root.iter(f"{SVG}path"))) == 2


def test_the_curves_go_up_and_down_with_the_windows():
    text = plot.svg(result(350.0), "gap")
    _, gaps = (one.get("d") for one in parsed(text).iter(f"{SVG}path"))
    heights = [float(part.split("H")[0].rstrip("Z")) for part in gaps.split("V")[1:]]
    assert min(heights) == 202 + 112 * (1 - 350 / 400), "the axis ends at 400 ms"
    assert heights.count(216.0) == 4, "one for each window from 1.0 s to 1.35 s"


def test_a_picture_of_nothing_is_still_one():
    text = plot.svg(summarise([], Span(0.0, 0.05), 1), "nothing")
    assert parsed(text).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("value", "limit"), [(0, 1), (1, 1), (1.1, 2), (3, 4), (4.5, 5), (6, 10), (120, 200), (482, 500)]
)
def test_axes_end_at_round_numbers(value, limit):
    assert plot.nice(value) == limit


CONDITIONS = report.Conditions("python -m x", "2 cores", "1.36.3 on 3 nodes", "Load: 0.1")
ORDER = ("roll", "upgrade", "killed")
PAGE = "# Benchmarks\nBy hand.\n"


def section(name: str, seconds: float = 10) -> str:
    return report.section(name, f"What {name} is.", "9.1.2", CONDITIONS, [run(seconds)])


def test_a_section_says_what_was_measured_on_what():
    lines = section("roll").splitlines()
    assert lines[:2] == ["### roll", "What roll is. Valkey 9.1.2."]
    assert "| done by its status after, s | 10.0 | 10.0 | 10.0 |" in lines
    assert "![roll: writes and the longest gap over time](bench/roll.svg)" in lines
    assert lines[-1] == "`python -m x`. Machine: 2 cores. Kubernetes 1.36.3 on 3 nodes. Load: 0.1."


def test_markers_that_are_missing_come_at_the_end():
    page = report.merged(PAGE, {"roll": section("roll")}, ORDER)
    assert page.startswith(f"{PAGE}\n{report.BEGIN}\n## Operations under traffic\n")
    assert page.endswith(f"{section('roll')}\n{report.END}\n")


def test_a_section_replaces_the_one_of_its_name_and_no_other():
    page = report.merged(PAGE, {name: section(name) for name in ("killed", "upgrade")}, ORDER)
    page = page.replace(report.END, f"{report.END}\n## By hand, too")
    again = report.merged(page, {"upgrade": section("upgrade", 20), "roll": section("roll")}, ORDER)
    places = [again.index(f"### {name}\n") for name in ORDER]
    assert places == sorted(places)
    assert again.count("### ") == 3
    assert "| 20.0 | 20.0 | 20.0 |" in again
    assert section("killed") in again
    assert again.endswith(f"{report.END}\n## By hand, too\n")
    assert report.merged(again, {}, ORDER) == again


def test_a_section_that_nobody_measures_any_more_stays_at_the_end():
    page = report.merged(PAGE, {"old": section("old"), "roll": section("roll")}, ORDER)
    assert page.index("### roll") < page.index("### old")


def test_the_machine_is_described(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:       24689412 kB\nMemFree: 1 kB\n")
    release = tmp_path / "os-release"
    release.write_text('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    text = report.machine(tmp_path, release)
    assert " cores, 24 GiB, Debian GNU/Linux 12 (bookworm), kernel " in text


def test_page_and_pictures_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "DOCS", tmp_path)
    (tmp_path / "benchmarks.md").write_text(PAGE)
    runs = {"roll": [run(10), run(20, 400)]}
    report.write({"roll": section("roll")}, runs, ORDER)
    assert "### roll" in (tmp_path / "benchmarks.md").read_text()
    assert (tmp_path / "bench" / "roll.svg").read_text() == plot.svg(result(400), "roll")
