"""What each Valkey release knows of its directives.

config_get/*.tsv is what real servers answered, Debian's 8.1.1 and 9.1.2: every name of CONFIG GET *, its
value, and whether CONFIG SET with that value was refused as immutable or protected.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valkey_cluster.config import valkey_conf
from valkey_cluster.directives import Kind, default, extract, is_live, known, problems, same, table, values
from valkey_cluster.errors import Problem
from valkey_cluster.spec import parse

OBSERVED = sorted((Path(__file__).parent / "config_get").glob("*.tsv"))
V80, V81, V90, V91, NEWER = (8, 0, 1), (8, 1, 1), (9, 0, 5), (9, 1, 2), (9, 2, 0)


def observed(path: Path) -> dict[str, tuple[str, str]]:
    lines = (line.split("\t") for line in path.read_text().splitlines())
    return {name: (mutability, value) for name, mutability, value in lines}


def only(key: str, value: str, version: tuple[int, int, int]) -> str:
    """The one sentence against it; empty: it is fine."""
    found = problems({key: value}, version)
    assert len(found) <= 1
    assert all(problem.field == f"spec.config.{key}" for problem in found)
    return found[0].sentence if found else ""


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: path.stem)
def test_the_table_has_exactly_the_names_of_a_real_server(path):
    found = table.at(table.nearest(table.release(path.stem)))
    shown = {name for name, each in found.items() if not each.hidden and each.kind is not Kind.IGNORED}
    assert shown == set(observed(path))


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: path.stem)
def test_what_can_be_set_live_is_what_a_real_server_lets_set(path):
    version = table.release(path.stem)
    for name, (mutability, _) in observed(path).items():
        directive = known(name, version)
        assert directive is not None, name
        assert (directive.immutable, directive.protected) == (
            mutability == "immutable",
            mutability == "protected",
        ), name
        assert is_live(name, version) == (mutability == "live"), name


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: path.stem)
def test_a_real_servers_own_values_are_fit_and_already_normal(path):
    version = table.release(path.stem)
    for name, (_, value) in observed(path).items():
        directive = known(name, version)
        assert directive is not None, name
        assert values.normal(directive, f'"{value}"') == value, name
        assert same(name, f'"{value}"', value, version), name
        assert same(name, value, value, version), name


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: path.stem)
def test_defaults_are_what_a_real_server_answers(path):
    """But for what the machine decides, and for what those servers were told."""
    for name, (_, value) in observed(path).items():
        if default(name) is not None and name not in {"port", "maxclients", "save"}:
            assert default(name) == value, name


@pytest.mark.parametrize(
    ("key", "value", "version"),
    [
        ("maxclients", "100", V80),
        ("maxclients", '"100"', V80),
        ("maxclients", "'100'", V91),
        ("maxclients", r'"\x31\x30"', V91),
        ("maxclients", '10"0"', V91),
        ("maxclients", "4294967295", V91),
        ("io-threads", "128", V80),
        ("io-threads", "256", V81),
        ("slowlog-max-len", "10", V80),
        ("slowlog-max-len", "10", V91),
        ("commandlog-slow-execution-max-len", "10", V81),
        ("maxmemory-clients", "5%", V80),
        ("maxmemory-clients", "1MB", V91),
        ("proc-title-template", '"{title} {listen-addr}"', V91),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", V80),
        ("client-output-buffer-limit", '"Slave 1gb 1m 0 pubsub 1 1 1"', V91),
        ("save", "3600 1 300 100", V91),
        ("save", '""', V91),
        ("notify-keyspace-events", "KEA", V91),
        ("notify-keyspace-events", '""', V91),
        ("oom-score-adj-values", "0 200 800", V91),
        ("oom-score-adj", "RELATIVE", V91),
        ("latency-tracking-info-percentiles", "50 99 99.9", V91),
        ("shutdown-on-sigterm", "failover", V90),
        ("shutdown-on-sigterm", "save force", V80),
        ("slot-migration-max-failover-repl-bytes", "-1", V91),
        ("lua-enable-insecure-api", "no", (8, 0, 6)),
        ("lua-enable-insecure-api", "no", (8, 1, 4)),
        ("sanitize-dump-payload", "clients", (9, 1, 1)),
        ("unixsocketperm", "700", V91),
        ("hz", "1000", V91),
        ("list-max-listpack-size", "-2", V91),
        ("loadmodule", "refused elsewhere", V91),
    ],
)
def test_what_the_server_takes_is_fine(key, value, version):
    assert only(key, value, version) == ""


@pytest.mark.parametrize(
    ("key", "value", "version", "says"),
    [
        ("maxclient", "1", V91, "Valkey 9.1 has no such directive; did you mean maxclients?"),
        ("shards", "1", V91, "Valkey 9.1 has no such directive; correct the name or remove it"),
        ("maxclients", "many", V91, "must be a whole number from 1 to 4294967295"),
        ("maxclients", "0", V91, "must be a whole number from 1 to 4294967295"),
        ("maxclients", "007", V91, "must be a whole number from 1 to 4294967295"),
        ("maxclients", "100 # comment", V91, "must be one argument; put it in quotes if it has spaces"),
        ("maxclients", '"100', V91, "must close each quote, with a space or nothing behind it"),
        ("maxclients", '"100"x', V91, "must close each quote, with a space or nothing behind it"),
        ("acllog-max-len", str(2**63), V91, "must be a whole number, at least 0"),
        ("io-threads", "129", V80, "must be a whole number from 1 to 128"),
        ("io-threads", "257", V81, "must be a whole number from 1 to 256"),
        (
            "hash-max-listpack-value",
            "1.5kb",
            V91,
            "must be a size in bytes such as 65536, 64kb, 100mb or 1gb",
        ),
        ("client-query-buffer-limit", "1kb", V91, "must be a size in bytes, at least 1048576"),
        ("maxmemory-clients", "101%", V91, "must be at most 100%"),
        (
            "maxmemory-clients",
            "most",
            V91,
            "must be a size in bytes such as 65536, 64kb, 100mb or 1gb, or a share of maxmemory such as 5%",
        ),
        ("slot-migration-max-failover-repl-bytes", "-2", V91, "must be a size in bytes, at least -1"),
        ("lazyfree-lazy-eviction", "maybe", V91, "must be yes or no"),
        ("loglevel", "loud", V91, "must be debug, verbose, notice, warning or nothing"),
        ("log-format", "json", V90, "must be legacy or logfmt"),
        ("repl-diskless-load", "flush-before-load", V80, "must be disabled, on-empty-db or swapdb"),
        ("shutdown-on-sigterm", "failover", V81, "must be default, save, nosave, now or force"),
        ("shutdown-on-sigterm", "save nosave", V91, "must not be both save and nosave"),
        ("save", "3600", V91, 'must be pairs of seconds and changes such as 3600 1 300 100, or "" for none'),
        ("save", "0 1", V91, 'must be pairs of seconds and changes such as 3600 1 300 100, or "" for none'),
        ("notify-keyspace-events", "KQ", V91, 'must be letters of g$lshzxetdnKEmA, or "" for none'),
        ("oom-score-adj-values", "0 200", V91, "must be three numbers from -2000 to 2000 such as 0 200 800"),
        (
            "oom-score-adj-values",
            "0 0 2001",
            V91,
            "must be three numbers from -2000 to 2000 such as 0 200 800",
        ),
        (
            "latency-tracking-info-percentiles",
            "50 101",
            V91,
            'must be numbers from 0 to 100 such as 50 99 99.9, or "" for none',
        ),
        ("unixsocketperm", "778", V91, "must be an octal number such as 700"),
        ("mptcp", "yes", V81, "exists from Valkey 9.0 on, not in 8.1.1; remove it or raise spec.version"),
        ("hash-seed", "a", V90, "exists from Valkey 9.1 on, not in 9.0.5; remove it or raise spec.version"),
        (
            "lua-enable-insecure-api",
            "no",
            V81,
            "exists from Valkey 8.1.4 on, not in 8.1.1; remove it or raise spec.version",
        ),
        (
            "commandlog-slow-execution-max-len",
            "10",
            V80,
            "exists from Valkey 8.1 on, not in 8.0.1; write slowlog-max-len",
        ),
        ("dynamic-hz", "yes", V81, "Valkey 8.1 has it no more and ignores it; remove it"),
        ("sanitize-dump-payload", "no", V91, "Valkey 9.1 has it no more and ignores it; remove it"),
    ],
)
def test_what_the_server_refuses_or_ignores_is_told(key, value, version, says):
    assert only(key, value, version) == says


@pytest.mark.parametrize(
    "limits", ["", "''", "primary 1 1 1", "replica 1 1", "replica 1 x 1", "replica 1 1 -1", "replica 1 1 1 2"]
)
def test_buffer_limits_are_four_words_for_each_class(limits):
    assert only("client-output-buffer-limit", limits, V91).endswith("such as replica 256mb 64mb 60")


def test_every_problem_is_told_at_once_and_in_order():
    found = problems({"maxclients": "0", "timeout": "5", "hzz": "1", "loglevel": "loud"}, V91)
    assert [problem.field for problem in found] == [
        f"spec.config.{k}" for k in ("hzz", "loglevel", "maxclients")
    ]


@pytest.mark.parametrize("version", [V80, V81, V90, V91, NEWER], ids=table.said)
@pytest.mark.parametrize("persistence", [{}, {"enabled": False}], ids=["persistence", "cache"])
def test_the_lines_that_valkeeper_writes_itself_are_fine(version, persistence):
    written = {"shards": 3, "version": ".".join(map(str, version)), "persistence": persistence}
    lines = valkey_conf(parse(written, "orders")).splitlines()
    assert problems(dict(line.split(" ", 1) for line in lines), version) == ()


def test_a_directive_under_both_its_names_is_told():
    found = problems({"slowlog-max-len": "1", "commandlog-slow-execution-max-len": "2"}, V91)
    says = "is the same directive as commandlog-slow-execution-max-len; keep one"
    assert found == (Problem("spec.config.slowlog-max-len", says),)


@pytest.mark.parametrize(("key", "value"), [("maxclient", "1"), ("io-threads", "999"), ("loglevel", "loud")])
def test_of_a_newer_minor_what_only_it_can_know_is_let_through(key, value):
    assert only(key, value, NEWER) == ""
    assert only(key, value, V91) != ""


@pytest.mark.parametrize(
    ("key", "value"), [("maxclients", "many"), ("lazyfree-lazy-eviction", "maybe"), ("dynamic-hz", "yes")]
)
def test_of_a_newer_minor_the_wrong_kind_and_what_is_gone_stay_problems(key, value):
    assert only(key, value, NEWER) != ""


@pytest.mark.parametrize(
    ("name", "version", "live"),
    [
        ("io-threads", V80, False),
        ("io-threads", V81, False),
        ("io-threads", V90, True),
        ("io-threads", NEWER, True),
        ("maxclients", V80, True),
        ("slowlog-max-len", V91, True),
        ("databases", V91, False),
        ("dir", V91, False),
        ("dynamic-hz", V80, True),
        ("dynamic-hz", V81, False),
        ("maxclient", V91, False),
        ("loadmodule", V91, False),
    ],
)
def test_live_is_what_config_set_changes(name, version, live):
    assert is_live(name, version) == live


def test_an_alias_is_known_as_the_directive_that_it_is_for():
    assert known("slowlog-max-len", V91) == known("commandlog-slow-execution-max-len", V91)
    assert known("slowlog-max-len", V80).name == "slowlog-max-len"
    assert known("commandlog-slow-execution-max-len", V80) is None


FULL_LIMITS = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("repl-backlog-size", "1gb", "1073741824"),
        ("repl-backlog-size", "1G", "1000000000"),
        ("repl-backlog-size", "1kb", "16384"),
        ("hz", "1000", "500"),
        ("lazyfree-lazy-eviction", "YES", "yes"),
        ("notify-keyspace-events", "KEmA", "AKEm"),
        ("notify-keyspace-events", "g$lshzxetdKEm", "AKEm"),
        ("notify-keyspace-events", "KEAnm", "AKEm"),
        ("notify-keyspace-events", "xE", "xE"),
        ("notify-keyspace-events", '""', ""),
        ("loglevel", "NOTICE", "notice"),
        ("tls-auth-clients-user", "uri", "URI"),
        ("oom-score-adj", "relative", "yes"),
        ("shutdown-on-sigterm", "force save default", "save force"),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", FULL_LIMITS),
        ("client-output-buffer-limit", '"pubsub 32mb 8mb 60 SLAVE 256mb 64mb 60"', FULL_LIMITS),
        ("save", '"3600 1  300 100"', "3600 1 300 100"),
        ("save", '""', ""),
        ("locale-collate", '""', ""),
        ("locale-collate", "''", ""),
        ("proc-title-template", '"{title} {listen-addr}"', "{title} {listen-addr}"),
        ("latency-tracking-info-percentiles", "50.0 99.90", "50 99.9"),
        ("maxmemory-clients", "0%", "0"),
        ("unixsocketperm", "0700", "700"),
        ("what-we-do-not-know", '"a b"', "a b"),
    ],
)
def test_two_texts_mean_the_same_whichever_comes_first(name, one, other):
    assert same(name, one, other, V91)
    assert same(name, other, one, V91)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("repl-backlog-size", "1gb", "1g"),
        ("maxclients", "100", "1000"),
        ("lazyfree-lazy-eviction", "yes", "no"),
        ("notify-keyspace-events", "KEA", "KE"),
        ("notify-keyspace-events", "KEA", "AKEm"),
        ("client-output-buffer-limit", "replica 256mb 64mb 61", FULL_LIMITS),
        ("client-output-buffer-limit", "replica 1 1 1", "pubsub 1 1 1"),
        ("client-output-buffer-limit", '""', FULL_LIMITS),
        ("save", '""', "3600 1"),
        ("availability-zone", "A", "a"),
        ("what-we-do-not-know", "a", "A"),
    ],
)
def test_two_texts_mean_something_else(name, one, other):
    assert not same(name, one, other, V91)
    assert not same(name, other, one, V91)


@given(key=st.sampled_from(sorted(table.at(table.releases()[-1]))), text=st.text(max_size=12))
def test_no_text_breaks_the_reading_and_each_means_itself(key, text):
    problems({key: text}, V91)
    assert same(key, text, text, V91) or key == "client-output-buffer-limit"


SOURCE = """
configEnum mode_enum[] = {
    {"slow", MODE_SLOW},
    {"lazy", MODE_SLOW},
    {"fast", MODE_FAST},
    {NULL, 0}};
    deprecatedConfig deprecated_configs[] = {
        {"gone", 2, 2},
        {NULL, 0},
    };
standardConfig static_configs[] = {
    createBoolConfig("lit", "alight", IMMUTABLE_CONFIG | HIDDEN_CONFIG, server.lit, 1, NULL, NULL), /* Why? */
    createEnumConfig("mode", NULL, MODIFIABLE_CONFIG, mode_enum, server.mode, MODE_SLOW, NULL, NULL),
#ifdef LOG_REQ_RES
    createStringConfig("not-built", NULL, IMMUTABLE_CONFIG, ALLOW_EMPTY_STRING, server.x, NULL, NULL, NULL),
#endif
    createUIntConfig("perm", NULL, IMMUTABLE_CONFIG, 0, 0777, server.perm, 0, OCTAL_CONFIG, NULL, NULL),
    createSSizeTConfig("size", NULL, MODIFIABLE_CONFIG | PROTECTED_CONFIG, 16 * 1024, SSIZE_MAX, \
server.size, 0, MEMORY_CONFIG | SIGNED_MEMORY_CONFIG, NULL, NULL),
    createSpecialConfig("save", NULL, MODIFIABLE_CONFIG | MULTI_ARG_CONFIG, setSave, getSave, NULL, NULL),
    {NULL},
"""


def test_the_sources_are_read():
    assert extract.directives(SOURCE) == {
        "lit": table.Directive("lit", Kind.BOOL, alias="alight", immutable=True, hidden=True),
        "mode": table.Directive("mode", Kind.ENUM, values=("slow", "lazy=slow", "fast")),
        "perm": table.Directive("perm", Kind.OCTAL, high=0o777, immutable=True),
        "size": table.Directive("size", Kind.SIGNED_MEMORY, low=16384, protected=True),
        "save": table.Directive("save", Kind.SAVE),
        "gone": table.Directive("gone", Kind.IGNORED),
    }


def test_an_entry_that_cannot_be_read_stops_the_extraction():
    broken = SOURCE.replace('createBoolConfig("lit", ', 'createBoolConfig("lit",\n')
    with pytest.raises(ValueError, match="1 of 5 entries"):
        extract.directives(broken)


def test_a_new_release_adds_its_spans_and_leaves_the_others():
    text = extract.updated(SOURCE, "9.2", "src/config.c of 9.2.0")
    assert '"9.2" = "src/config.c of 9.2.0"' in text
    assert (
        'lit = [{ since = "9.2", kind = "bool", alias = "alight", immutable = true, hidden = true }]' in text
    )
    assert 'aclfile = [{ until = "9.2", kind = "string", immutable = true }]' in text
    assert 'dynamic-hz = [{ until = "8.1", kind = "bool" }, ' in text
    assert "save = [{ kind =" in text


def test_the_table_is_written_as_extract_would_write_it():
    assert extract.toml(*extract.listed()) == table.FILE.read_text()
