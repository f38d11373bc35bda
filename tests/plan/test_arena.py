"""The arena packer: no two live buffers meet, and simple cases are packed perfectly."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.plan.arena import ALIGNMENT, Request, Span, live_bytes, overlaps, pack


def request(name: str, *spans: tuple[int, int, int]) -> Request:
    return Request(name, tuple(Span(*span) for span in spans))


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    """Random lifetimes; some requests change size and place along the way, as chains of operators do that work in
    place or follow their input at a distance."""
    steps = draw(st.integers(1, 12))
    result = []
    for index in range(draw(st.integers(1, 14))):
        first = draw(st.integers(0, steps - 1))
        spans = []
        for _ in range(draw(st.integers(1, 3))):
            last = draw(st.integers(first, steps - 1))
            start = ALIGNMENT * draw(st.sampled_from([0, 0, 1, 5]))
            spans.append(Span(first, last, draw(st.integers(1, 300)), start))
            first = last
        result.append(Request(str(index), tuple(spans)))
    return result


@given(requests())
@settings(max_examples=150)
def test_no_two_live_buffers_share_a_byte(items: list[Request]) -> None:
    packing = pack(items, attempts=60)
    assert overlaps(items, packing.offsets) == []
    assert all(offset % ALIGNMENT == 0 for offset in packing.offsets)
    assert all(offset + item.size <= packing.total for offset, item in zip(packing.offsets, items))


@given(requests())
@settings(max_examples=100)
def test_the_total_is_never_below_the_bound_nor_above_the_sum(items: list[Request]) -> None:
    packing = pack(items, attempts=60)
    assert packing.live_bound == max(live_bytes(items))
    assert packing.live_bound <= packing.total
    if all(span.start == 0 for item in items for span in item.spans):  # holes in a request may go unused
        assert packing.total <= sum(item.size + ALIGNMENT for item in items)


@given(requests())
@settings(max_examples=30)
def test_packing_is_deterministic(items: list[Request]) -> None:
    assert pack(items, attempts=30) == pack(items, attempts=30)


def test_a_chain_takes_its_two_largest_neighbours() -> None:
    sizes = [100, 400, 64, 320, 320, 10]
    items = [request(str(i), (i, i + 1, size)) for i, size in enumerate(sizes)]
    packing = pack(items)
    assert packing.total == packing.live_bound == 640


def test_a_chain_in_place_takes_its_largest_member() -> None:
    packing = pack([request("chain", (0, 1, 100), (1, 2, 160), (2, 3, 16))])
    assert packing.total == packing.live_bound == 160


def test_memory_that_a_shrinking_chain_gives_up_is_used() -> None:
    items = [request("chain", (0, 1, 160), (1, 4, 16)), request("later", (2, 3, 144))]
    packing = pack(items)
    assert packing.total == 160
    assert packing.offsets == (0, 16)


def test_local_search_finds_what_the_simple_orders_miss() -> None:
    # Placing by size, area, length or time alone leaves a gap here.
    items = [
        request("a", (0, 2, 48)),
        request("b", (2, 5, 32)),
        request("c", (1, 3, 16)),
        request("d", (3, 6, 48)),
        request("e", (0, 1, 32)),
        request("f", (4, 7, 16)),
        request("g", (6, 8, 80)),
    ]
    packing = pack(items)
    assert packing.total == packing.live_bound


def test_nothing_needs_nothing() -> None:
    assert pack([]).total == 0


def test_the_checker_sees_an_overlap() -> None:
    items = [request("a", (0, 2, 32)), request("b", (2, 3, 32)), request("c", (3, 4, 32))]
    assert overlaps(items, (0, 16, 0)) == [("a", "b"), ("b", "c")]
    assert overlaps(items, (0, 32, 0)) == []
