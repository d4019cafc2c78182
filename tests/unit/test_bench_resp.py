"""Commands and answers as they go over the wire, and where a refusal sends a client."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.bench.resp import Address, Redirect, Refusal, encode, read, within

HERE = Address("10.0.0.1", 7000)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", Address("10.0.0.1", 6379)),
        ("10.0.0.1:7000", HERE),
        ("a-0.a.shop.svc:6380", Address("a-0.a.shop.svc", 6380)),
        ("fd00::1", Address("fd00::1", 6379)),
        ("[fd00::1]", Address("fd00::1", 6379)),
        ("[fd00::1]:7000", Address("fd00::1", 7000)),
    ],
)
def test_an_address_with_and_without_port(text, address):
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        ("MOVED 3999 10.0.0.2:6381", Redirect(3999, Address("10.0.0.2", 6381), asking=False)),
        ("ASK 3999 10.0.0.2:6381", Redirect(3999, Address("10.0.0.2", 6381), asking=True)),
        ("MOVED 0 fd00::1:6379", Redirect(0, Address("fd00::1", 6379), asking=False)),
        ("MOVED 0 a-0.a.svc:6379", Redirect(0, Address("a-0.a.svc", 6379), asking=False)),
        ("MOVED 7 :7001", Redirect(7, Address("10.0.0.1", 7001), asking=False)),
        ("ASK 7 ?:7001", Redirect(7, Address("10.0.0.1", 7001), asking=True)),
        ("CLUSTERDOWN Hash slot not served", None),
        ("MOVED", None),
        ("ERR MOVED 1 x:1", None),
    ],
)
def test_where_a_refusal_sends_us(text, redirect):
    assert Refusal(text).redirect(HERE) == redirect


@pytest.mark.parametrize(
    ("text", "kind"),
    [("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"), ("LOADING", "LOADING"), ("ERR no", "ERR")],
)
def test_the_kind_of_a_refusal_is_its_first_word(text, kind):
    assert Refusal(text).kind == kind


def test_a_command_on_the_wire():
    assert encode(("SET", "ä", "")) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$0\r\n\r\n"


async def answers(wire: bytes) -> list[object]:
    reader = asyncio.StreamReader()
    reader.feed_data(wire)
    reader.feed_eof()
    found = []
    while not reader.at_eof():
        found.append(await read(reader))
    return found


async def test_answers_of_every_kind():
    wire = b"+OK\r\n-MOVED 1 a:2\r\n:-5\r\n$4\r\na\r\nb\r\n$-1\r\n$0\r\n\r\n*-1\r\n*2\r\n:1\r\n*1\r\n+x\r\n"
    assert await answers(wire) == ["OK", Refusal("MOVED 1 a:2"), -5, b"a\r\nb", None, b"", None, [1, ["x"]]]


@pytest.mark.parametrize("wire", [b"+O", b"$5\r\nab", b"*2\r\n:1\r\n", b"$5\r\nabcde"])
async def test_a_torn_answer_is_none(wire):
    with pytest.raises(EOFError):
        await answers(wire)


async def test_what_no_server_says_is_refused():
    with pytest.raises(ValueError, match="no answer of a Valkey server"):
        await answers(b"HTTP/1.1 400 Bad Request\r\n")


async def test_what_takes_too_long_is_given_up():
    with pytest.raises(TimeoutError):
        await within(0.01, asyncio.sleep(1))


async def test_an_answer_that_came_while_this_process_stood_still_is_taken():
    reader = asyncio.StreamReader()
    answer = asyncio.ensure_future(within(0.02, read(reader)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, reader.feed_data, b"+OK\r\n")
    time.sleep(0.05)  # noqa: ASYNC251  all of us stand still
    assert await answer == "OK"
