"""The spill's file: batches of records in SQLite, synced with every change, guarded by a lock.

One row is one batch, encoded as a whole, with its checksum. A change is one transaction in the write-ahead log, synced
before it counts: after a crash at any byte the file holds a prefix of the changes, never half of one. What cannot be
used is set aside, that is renamed beside, never deleted.

The file has a format (``PRAGMA user_version``) and each row has one: rows of older formats are read, new rows are
written in the newest, and a file of a format that is not known here is not touched.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from bridge.errors import SettingsError
from bridge.model import Record

#: The newest format, in which new rows are written, and how each known one is read.
FORMAT = 1
Decode = Callable[[bytes], Sequence[Record]]
DECODERS: Mapping[int, Decode] = {1: msgspec.msgpack.Decoder(list[tuple[bytes, bytes, int]]).decode}
_encode = msgspec.msgpack.Encoder().encode

NAME, LOCK = "spill.db", "lock"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY, format INTEGER NOT NULL, count INTEGER NOT NULL, first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL
);
"""


class StoreFailed(Exception):
    """The disk does not do what it is asked: full, read-only, broken. Later it may."""


class StoreFull(StoreFailed):
    """The disk is full; what is on it can be read."""


class StoreUnreadable(Exception):
    """The file is not what we wrote: reading it again will not help."""


class Batch(NamedTuple):
    """What is known of a row without reading its records."""

    id: int
    records: int
    size: int
    first_ms: int
    last_ms: int


class Row(NamedTuple):
    """A batch that is ready to be written."""

    batch: Batch
    data: bytes


def row(number: int, records: Sequence[Record]) -> Row:
    """Encode records as the row ``number``; there must be some."""
    data = _encode(records)
    return Row(Batch(number, len(records), len(data), records[0][2], records[-1][2]), data)


class Found(NamedTuple):
    """What a file holds when it is opened: whose it is, and its batches in order."""

    topic: str
    cluster: str
    batches: list[Batch]


class Store:
    """The file in a directory of its own.

    Every method raises `StoreFailed` when the disk fails, and those that read `StoreUnreadable`; after either the file
    is best closed, and opened again some time later.
    """

    def __init__(self, directory: Path, decoders: Mapping[int, Decode] = DECODERS) -> None:
        self._directory = directory
        self._path = directory / NAME
        self._decoders = decoders
        self._lock = -1
        self._db: sqlite3.Connection | None = None
        self._version = 0  # the file's format

    def open(self, topic: str) -> Found:
        """Open the file, making what is missing; a new one belongs to ``topic``.

        Raises:
            SettingsError: another process has the directory.
        """
        with _translated():
            self._take_lock()
            # Made on the thread that starts the process, used on the one that owns the path.
            db = self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA locking_mode=EXCLUSIVE")  # spares the index of the log a file of its own
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if not version and not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")
                self.stamp(topic=topic)
            elif version not in self._decoders:
                raise StoreUnreadable(f"its format is {version}, and only {[*self._decoders]} can be read here")
            self._version = version
            meta = dict(db.execute("SELECT key, value FROM meta"))
            rows = db.execute("SELECT id, count, length(data), first_ms, last_ms FROM batch ORDER BY id")
            return Found(meta.get("topic", ""), meta.get("cluster", ""), [*map(Batch._make, rows)])

    def stamp(self, **meta: str) -> None:
        """Write whose the file is."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())

    def write(self, rows: Iterable[Row], forget: Iterable[int] = ()) -> None:
        """Add rows and remove those with the given numbers, all or nothing, synced."""
        with self._transaction() as db:
            db.executemany("DELETE FROM batch WHERE id = ?", [(number,) for number in forget])
            db.executemany(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(b.id, FORMAT, b.records, b.first_ms, b.last_ms, zlib.crc32(data), data) for b, data in rows],
            )
            if self._version != FORMAT:
                db.execute(f"PRAGMA user_version={FORMAT}")
        self._version = FORMAT

    def read(self, number: int) -> Sequence[Record]:
        """Read the records of a row."""
        with _translated():
            found = self._open.execute("SELECT format, crc, data FROM batch WHERE id = ?", (number,)).fetchone()
        if found is None:
            raise StoreUnreadable(f"batch {number} is gone")
        version, crc, data = found
        if version not in self._decoders or zlib.crc32(data) != crc:
            raise StoreUnreadable(f"batch {number} is damaged")
        try:
            return self._decoders[version](data)
        except msgspec.MsgspecError as error:
            raise StoreUnreadable(f"batch {number} is damaged: {error}") from None

    def shrink(self) -> None:
        """Give the disk back what the file no longer needs; quick when it is empty."""
        with _translated():
            self._open.execute("VACUUM")
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def set_aside(self, why: str) -> str:
        """Close the file and rename it, so that a new one can be opened; say where it is now."""
        self.close()
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        beside = next(
            path
            for number in range(1_000_000)
            if not (path := self._directory / f"set-aside-{moment}-{number}-{why}.db").exists()
        )
        with _translated():
            for suffix in ("-wal", "-shm", ""):  # the log goes first: without it the file would look whole
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{beside}{suffix}")
        return str(beside)

    def close(self) -> None:
        """Close the file, whatever state it is in; the directory stays ours."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def release(self) -> None:
        """Close the file and leave the directory to others."""
        self.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreFailed("the file is not open")
        return self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated():
            db = self._open
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SettingsError(
                f"TICKBRIDGE_BACKPRESSURE__SPILL_DIR={self._directory}: another process spills there; "
                "give each instance a directory of its own, or end the other one"
            ) from None
        except OSError:
            os.close(lock)
            raise
        self._lock = lock


@contextmanager
def _translated() -> Iterator[None]:
    """Say what went wrong in our words: the disk, or the file."""
    try:
        yield
    except OSError as error:
        raise StoreFailed(f"{error.filename or 'the disk'}: {error.strerror or error}") from error
    except (sqlite3.OperationalError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
        # A file whose tables are not ours is no fault of the disk.
        code = getattr(error, "sqlite_errorcode", 0)
        kind = {sqlite3.SQLITE_ERROR: StoreUnreadable, sqlite3.SQLITE_FULL: StoreFull}.get(code, StoreFailed)
        raise kind(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreUnreadable(str(error)) from error
