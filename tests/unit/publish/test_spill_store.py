"""The spill's file keeps what was synced, whole and in order, and nothing else; what it cannot read stays beside it."""

import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import SettingsError
from bridge.model import Record
from bridge.publish import store as module
from bridge.publish.store import LOCK, NAME, Batch, Store, StoreFailed, StoreFull, StoreUnreadable, row

ROOT = Path(__file__).parents[3]


def records(start: int, stop: int, size: int = 20) -> list[Record]:
    return [(b"K%d" % (n % 3), b"%06d" % n + b"x" * size, 1_790_000_000_000 + n) for n in range(start, stop)]


def contents(store: Store, batches: Sequence[Batch]) -> list[list[Record]]:
    return [[*store.read(batch.id)] for batch in batches]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "spill")
    yield store
    store.release()


def test_a_new_file_is_empty_and_belongs_to_its_topic(store: Store) -> None:
    assert store.open("ticks") == ("ticks", "", [])


def test_what_is_written_is_there_when_the_file_is_opened_again(store: Store) -> None:
    store.open("ticks")
    some = [row(1, records(0, 5)), row(2, records(5, 9))]
    store.write(some)
    store.stamp(cluster="abc")
    store.close()
    found = store.open("other")
    assert found == ("ticks", "abc", [each.batch for each in some])
    assert contents(store, found.batches) == [records(0, 5), records(5, 9)]


def test_every_change_is_synced_before_it_counts(store: Store) -> None:
    store.open("ticks")
    assert store._db is not None
    modes = [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]


def test_a_batch_knows_how_many_it_is_and_since_when() -> None:
    batch, data = row(7, records(3, 9))
    assert batch == (7, 6, len(data), 1_790_000_000_003, 1_790_000_000_008)


def test_batches_stand_in_the_order_of_their_numbers_whenever_they_were_written(store: Store) -> None:
    store.open("ticks")
    store.write([row(5, records(5, 6))])
    store.write([row(-3, records(1, 2)), row(9, records(9, 10))])
    store.close()
    assert [batch.id for batch in store.open("ticks").batches] == [-3, 5, 9]


def test_what_is_forgotten_is_gone_and_what_is_written_with_it_is_there(store: Store) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5)), row(2, records(5, 9))])
    store.write([row(3, records(9, 10))], forget=[1, 77])
    store.close()
    assert [batch.id for batch in store.open("ticks").batches] == [2, 3]


def test_a_write_that_fails_changes_nothing(store: Store) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5))])
    with pytest.raises(StoreUnreadable):
        store.write([row(2, records(5, 9)), row(1, records(5, 9))], forget=[7])
    store.close()
    assert [batch.id for batch in store.open("ticks").batches] == [1]


def test_a_batch_that_was_changed_is_not_read(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5)), row(2, records(5, 9))])
    store.close()
    with sqlite3.connect(tmp_path / "spill" / NAME) as db:
        (data,) = db.execute("SELECT data FROM batch WHERE id = 1").fetchone()
        db.execute("UPDATE batch SET data = ? WHERE id = 1", (data[:40] + b"!" + data[41:],))
    db.close()
    store.open("ticks")
    with pytest.raises(StoreUnreadable, match="batch 1 is damaged"):
        store.read(1)
    assert store.read(2) == records(5, 9)


def test_a_batch_that_is_gone_is_not_read(store: Store) -> None:
    store.open("ticks")
    with pytest.raises(StoreUnreadable, match="batch 4 is gone"):
        store.read(4)


@pytest.mark.parametrize("data", [b"", b"rubbish, " * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_not_ours_is_unreadable_or_empty_and_can_be_set_aside(
    store: Store, tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "spill" / NAME
    path.parent.mkdir()
    path.write_bytes(data)
    if data:
        with pytest.raises(StoreUnreadable):
            store.open("ticks")
        beside = Path(store.set_aside("unreadable"))
        assert beside.read_bytes() == data
        assert "unreadable" in beside.name
    assert store.open("ticks").batches == []


def test_a_database_of_somebody_else_is_unreadable(store: Store, tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir()
    db = sqlite3.connect(tmp_path / "spill" / NAME)
    db.executescript("CREATE TABLE other (x); PRAGMA user_version=1;")
    db.close()
    with pytest.raises(StoreUnreadable):
        store.open("ticks")


def test_a_file_of_an_unknown_format_is_not_touched(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5))])
    store.close()
    with sqlite3.connect(tmp_path / "spill" / NAME) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreUnreadable, match="its format is 99"):
        store.open("ticks")


def test_a_file_of_an_older_known_format_is_read_and_carried_on_in_the_newest(tmp_path: Path) -> None:
    def lines(data: bytes) -> list[Record]:
        return [(b"K", line, 7) for line in data.split(b"\n")]

    store = Store(tmp_path, {**module.DECODERS, -1: lines})
    store.open("ticks")
    store.write([row(1, records(0, 1))])
    store.close()
    with sqlite3.connect(tmp_path / NAME) as db:
        data = b"one\ntwo"
        db.execute("UPDATE batch SET format = -1, count = 2, data = ?, crc = ?", (data, zlib.crc32(data)))
        db.execute("PRAGMA user_version=-1")
    db.close()
    (batch,) = store.open("ticks").batches
    assert store.read(batch.id) == [(b"K", b"one", 7), (b"K", b"two", 7)]
    store.write([row(2, records(3, 4))])
    store.close()
    found = store.open("ticks")
    assert [len(each) for each in contents(store, found.batches)] == [2, 1]
    store.release()
    plain = Store(tmp_path)
    plain.open("ticks")
    with pytest.raises(StoreUnreadable):
        plain.read(1)
    plain.release()


def test_two_files_set_aside_in_one_second_do_not_meet(store: Store) -> None:
    asides = set()
    for number in range(3):
        store.open("ticks")
        store.write([row(1, records(number, number + 1))])
        asides.add(store.set_aside("age"))
    assert len(asides) == 3
    assert store.open("ticks").batches == []


def test_a_file_set_aside_is_whole(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5))])
    beside = Path(store.set_aside("cluster"))
    shutil.copy(beside, tmp_path / NAME)
    again = Store(tmp_path)
    assert contents(again, again.open("ticks").batches) == [records(0, 5)]
    again.release()


def test_two_processes_cannot_share_a_directory(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    script = f"""
from pathlib import Path
from bridge.errors import SettingsError
from bridge.publish.store import Store
try:
    Store(Path({str(tmp_path / "spill")!r})).open("ticks")
except SettingsError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "TICKBRIDGE_BACKPRESSURE__SPILL_DIR" in said
    assert "another process" in said
    with pytest.raises(SettingsError):
        Store(tmp_path / "spill").open("ticks")


def test_a_directory_that_was_left_is_free(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.release()
    other = Store(tmp_path / "spill")
    assert other.open("ticks").batches == []
    other.release()


def test_a_directory_that_cannot_be_made_is_a_failure_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed):
        Store(tmp_path / "file" / "spill").open("ticks")


def test_a_file_that_may_not_grow_fails_and_stays_whole(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from bridge.publish.store import Store, StoreFailed, row
store = Store(Path({str(tmp_path)!r}))
store.open("ticks")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
number = 0
try:
    while True:
        number += 1
        store.write([row(number, [(b"K", b"x" * 100_000, 7)])])
except StoreFailed as error:
    print(number - 1)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    store = Store(tmp_path)
    found = store.open("ticks")
    assert len(found.batches) == int(done.stdout) > 0
    assert contents(store, found.batches) == [[(b"K", b"x" * 100_000, 7)]] * len(found.batches)
    store.release()


def test_a_full_disk_is_told_from_a_broken_one_and_can_still_be_read(store: Store) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5))])
    assert store._db is not None
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFull):
        store.write([row(2, records(0, 1, size=100_000))])
    assert store.read(1) == records(0, 5)
    store.write([row(3, records(5, 6))], forget=[1])


def test_a_file_that_is_not_open_fails(store: Store) -> None:
    for act in (lambda: store.read(1), lambda: store.write([]), store.shrink):
        with pytest.raises(StoreFailed):
            act()
    store.close()


def test_shrinking_an_empty_file_gives_the_disk_back(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.write([row(n, records(n, n + 1, size=1_000_000)) for n in range(5)])
    store.write([], forget=range(5))
    store.shrink()
    assert sum(path.stat().st_size for path in (tmp_path / "spill").iterdir()) < 200_000


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 6000)), min_size=1, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_after_a_crash_at_any_byte_the_file_holds_what_the_first_so_many_writes_made(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """The log is cut anywhere, as if the rest had never reached the disk; rubbish may stand there instead."""
    directory = tmp_path_factory.mktemp("crash")
    store = Store(directory)
    store.open("ticks")
    states: list[list[list[Record]]] = [[]]
    number = 0
    for count, size in writes:
        rows = [row(number + index, records(number + index, number + index + 2, size)) for index in range(count)]
        forget = [number - 1] if number else []
        number += count
        store.write(rows, forget)
        kept = states[-1][:-1] if forget else states[-1]
        states.append([*kept, *([*module.DECODERS[1](each.data)] for each in rows)])
    after = directory / "after"
    after.mkdir()
    shutil.copy(directory / NAME, after)
    whole = (directory / f"{NAME}-wal").read_bytes()
    store.release()
    cut = data.draw(st.integers(0, len(whole)))
    (after / f"{NAME}-wal").write_bytes(whole[:cut] + data.draw(st.binary(max_size=50)))
    again = Store(after)
    try:
        found = again.open("ticks")
        assert contents(again, found.batches) in states
        if cut == len(whole):
            assert contents(again, found.batches) == states[-1]
    except StoreUnreadable:
        assert cut < 20_000, "the file itself was not yet made"
    again.release()
    shutil.rmtree(directory)


def test_the_lock_is_the_only_thing_that_is_left_open(store: Store, tmp_path: Path) -> None:
    store.open("ticks")
    store.write([row(1, records(0, 5))])
    store.release()
    assert sorted(path.name for path in (tmp_path / "spill").iterdir()) == [LOCK, NAME]
