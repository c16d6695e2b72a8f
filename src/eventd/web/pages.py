"""Answers of many parts, which end at a size: each part is encoded as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec import Raw, structs

from eventd.core.model import AlertDetached, AlertJoined, Fact
from eventd.web import views
from eventd.web.questions import State

V = TypeVar("V", bound=msgspec.Struct)
# Bytes of JSON, after which no part is added. An answer is held up to four times while it is made
# and sent, and a request may cost 16 MiB of memory.
PAGE_BYTES = 2 << 20
DETAIL_BYTES = 4 << 20  # of an incident's answer
TIMELINE_BYTES = 1 << 20  # of those: some 7,000 entries; alerts have the rest
encode = msgspec.json.Encoder(order="deterministic").encode


def page(items: Iterator[V], limit: int, cursor: Callable[[V], str]) -> bytes:
    """A list: at most `limit` of the items, and after which one the next page begins, if any."""
    shown, after = list[Raw](), ""
    for item, text in fitting(PAGE_BYTES, islice(items, limit)):
        shown.append(text)
        after = cursor(item)
    more = next(items, None) is not None
    return encode({"items": shown, "next": after if more else None})


def fitting(room: int, items: Iterator[V]) -> Iterator[tuple[V, Raw]]:
    """What there is room for, and one at least, with its JSON; the rest is left in `items`.

    It is encoded one by one, as the encoder holds up all threads.
    """
    for item in items:
        text = encode(item)
        yield item, Raw(text)
        room -= len(text)
        if room <= 0:
            return


def detail(state: State, name: str) -> bytes | None:
    """An incident with what happened and who is in it; None: there is none.

    Where there is no room for all, the newest are shown, and how it began.
    """
    found = state.incident(name)
    if found is None:
        return None

    def entry(numbered: tuple[int, Fact]) -> views.EntryView:
        fact = numbered[1]
        called = state.called(fact.fingerprint) if isinstance(fact, AlertDetached) else None
        return views.entry_view(fact, name, called)

    def member(one: AlertJoined) -> views.MemberView:
        return views.member_view(one, state.alert(one.fingerprint))

    facts, joined = state.timeline(name), state.joined(name)
    timeline = [text for _, text in fitting(TIMELINE_BYTES, map(entry, facts))]
    left_out, _ = next(facts, (0, None))
    if left_out:
        timeline.append(Raw(encode(entry((1, state.opening(name))))))
        left_out -= 1
    alerts = [text for _, text in fitting(DETAIL_BYTES - TIMELINE_BYTES, map(member, joined))]
    return encode(
        views.Detailed[Raw, Raw](
            **structs.asdict(views.incident_view(*found)),
            timeline=timeline[::-1],
            timeline_left_out=left_out,
            alerts=alerts[::-1],
            alerts_left_out=sum(1 for _ in joined),
        )
    )
