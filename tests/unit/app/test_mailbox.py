"""The mailbox loses nothing and wakes the reader, whoever puts and however much."""

import select
from collections.abc import Iterator
from threading import Thread

import pytest

from bridge.app.mailbox import Look, Mailbox

#: More than a pipe holds.
MANY = 100_000


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.close()


def awake(mailbox: Mailbox, timeout_s: float = 0.0) -> bool:
    return bool(select.select([mailbox.fileno()], [], [], timeout_s)[0])


def test_an_empty_mailbox_lets_its_reader_sleep(mailbox: Mailbox) -> None:
    assert not awake(mailbox)
    assert mailbox.take() == []


def test_a_message_from_another_thread_wakes_the_reader(mailbox: Mailbox) -> None:
    message = Look()
    Thread(target=mailbox.put, args=(message,)).start()
    assert awake(mailbox, 5.0)
    assert mailbox.take() == [message]
    assert not awake(mailbox)


def test_messages_come_in_their_order(mailbox: Mailbox) -> None:
    messages = [Look() for _ in range(10)]
    for message in messages:
        mailbox.put(message)
    assert all(taken is put for taken, put in zip(mailbox.take(), messages, strict=True))


def test_a_full_pipe_neither_blocks_nor_loses_a_message(mailbox: Mailbox) -> None:
    for _ in range(MANY):
        mailbox.put(Look())
    taken = 0
    while awake(mailbox):
        taken += len(mailbox.take())
    assert taken == MANY


def test_whoever_puts_while_another_takes_is_heard(mailbox: Mailbox) -> None:
    def put_many() -> None:
        for _ in range(2000):
            mailbox.put(Look())

    putters = [Thread(target=put_many) for _ in range(4)]
    for putter in putters:
        putter.start()
    taken = 0
    while taken < 8000 and awake(mailbox, 5.0):
        taken += len(mailbox.take())
    for putter in putters:
        putter.join(5)
    assert taken == 8000
