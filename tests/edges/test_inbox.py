"""What is left of an inbox nobody works off."""

from __future__ import annotations

import gc
import weakref
from functools import partial

from eventd.clock import wall
from eventd.core.model import Delivery
from eventd.inbox import Inbox, Submission


def test_an_inbox_left_with_what_waited_in_it_is_forgotten() -> None:
    inbox = Inbox(1_000)
    gone = weakref.ref(inbox)

    # as a source does, whose sessions know their inbox
    inbox.put(Submission((), partial(lambda _inbox, _result: None, inbox)))
    del inbox
    gc.collect()

    assert gone() is None


def test_a_topic_takes_room_as_a_payload_does() -> None:
    def sized(topic: str, payload: bytes) -> int:
        given = Delivery(
            transport="mqtt",
            received_at=wall(),
            payload=payload,
            source="s",
            decoder="",
            topic=topic,
        )
        return Submission((), lambda _result: None, given).size()

    assert sized("t" * 65_535, b"") == sized("", b"x" * 65_535) > 65_535
