"""What waits between a trainer that tells without end and the one who passes it on: so many bytes, and no more."""

from __future__ import annotations

import threading

from worker.room import Room


def test_who_finds_no_room_waits_for_it():
    """Until some is given back."""
    room, took = Room(10), threading.Event()
    assert room.take(8, given_up=lambda: False)
    waiting = threading.Thread(target=lambda: (room.take(8, given_up=lambda: False), took.set()))
    waiting.start()

    assert not took.wait(0.2)
    room.give_back(8)
    assert took.wait(10)
    waiting.join()


def test_what_is_larger_than_the_room_has_it_alone():
    """And nothing is let in beside it."""
    room = Room(10)
    assert room.take(100, given_up=lambda: False)

    assert not room.take(1, given_up=lambda: True)
    room.give_back(100)
    assert room.take(1, given_up=lambda: True)
