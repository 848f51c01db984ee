"""One real Kafka broker (KRaft, broker and controller in one process) that a test may kill, freeze and start again.

Rules: it listens and advertises on 127.0.0.1 only; it is ready when it says so in its output, which a thread reads, and
never because time has passed; ports, cluster id and data survive `stop` and `kill`, so that `start` brings the same
broker back; `close` removes everything. It runs from the jars of `tests.support.jars` with the machine's Java.

Its settings shorten what a test would wait for (compaction, the expiry of a killed broker's registration) and change
nothing about what Kafka guarantees. `extra` overrides any of them. The client listener is named CLIENT: to put SASL
or TLS on it, set `listener.security.protocol.map` and its own properties there, and give `client` what a client needs
to connect. A cluster of several nodes would be a list of these with a shared `controller.quorum.voters`.
"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.cluster import Cluster
from tests.support.errors import REMEDY, KafkaStartError, KafkaUnavailableError
from tests.support.jars import RECIPE, kafka_jars
from tests.support.ports import free_ports

READY = "Kafka Server started"

#: Broker properties that make waiting short; the container road sets them too.
QUICK: dict[str, str] = {
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A broker that was killed is let in again only when its former registration has expired: 9 s by default.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # Compaction within a second or two of the roll of a segment.
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
}


class KafkaBroker:
    """A broker of one's own; use it as a context manager, or call `start` and, in the end, `close`."""

    def __init__(
        self,
        extra: Mapping[str, str] | None = None,
        *,
        client: Mapping[str, str] | None = None,
        heap_mb: int = 256,
        choose_ports: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._extra = dict(extra or {})
        self._client = dict(client or {})
        self._heap_mb = heap_mb
        self._choose_ports = choose_ports or free_ports
        self._directory: Path | None = None
        self._ports = (0, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: _Output | None = None
        self.cluster_id = _cluster_id()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def cluster(self) -> Cluster:
        """What a client may ask of this broker; valid across restarts."""
        return Cluster(self.bootstrap, client=self._client)

    @property
    def directory(self) -> Path:
        """Where configuration, data (`data/`) and output (`broker.log`) are; gone after `close`."""
        if self._directory is None:
            raise RuntimeError("the broker was never started")
        return self._directory

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 60.0) -> None:
        """Start, or start again on the same ports and data; return when the broker serves.

        Raises KafkaUnavailableError without jars or Java for it, KafkaStartError with the end of its output when it
        does not come up within `timeout_s`.
        """
        if self.alive:
            raise RuntimeError(f"already running as process {self.pid}")
        if self._directory is not None:
            self._launch(timeout_s)
        else:
            self._start_anew(timeout_s)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop it the clean way (SIGTERM); kill it when that takes longer than `timeout_s`. No harm if it is down."""
        if self._process is not None:  # which sends no signal to a process that has ended, be it just now
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        self._reap(timeout_s)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; data stays as the operating system has it."""
        self._running().kill()
        self._reap(10.0)

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nobody answers. Returns when it has stopped."""
        self._running().send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the broker is not running")
        return self._process

    def _prepare(self) -> None:
        self._ports = self._choose_ports()
        self._directory = Path(tempfile.mkdtemp(prefix="tickbridge-kafka-"))
        lines = [f"{key}={value}\n" for key, value in self._properties().items()]
        (self._directory / "server.properties").write_text("".join(lines))
        storage = ["kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", self._config()]
        done = subprocess.run(
            self._java(64, storage),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise _failure("storage could not be formatted", done.stdout[-2000:])

    def _start_anew(self, timeout_s: float) -> None:
        for attempts_left in (2, 1, 0):
            try:
                self._prepare()
                self._launch(timeout_s)
            except (KafkaStartError, KafkaUnavailableError) as failure:
                self.close()
                if not (attempts_left and "Address already in use" in str(failure)):
                    raise
            else:
                return

    def _properties(self) -> dict[str, str]:
        port, controller_port = self._ports
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{port}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": str(self.directory / "data"),
            **QUICK,
            **self._extra,
        }

    def _config(self) -> str:
        return str(self.directory / "server.properties")

    def _java(self, heap_mb: int, arguments: list[str]) -> list[str]:
        home = os.environ.get("JAVA_HOME")
        java = str(Path(home, "bin", "java")) if home else shutil.which("java")
        if java is None or not Path(java).exists():
            raise KafkaUnavailableError(f"no Java found: {REMEDY}")
        classes = os.pathsep.join(str(jar) for jar in kafka_jars())
        options = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"]
        options += ["-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.yaml'}"]
        return [java, *options, "-cp", classes, *arguments]

    def _launch(self, timeout_s: float) -> None:
        command = self._java(self._heap_mb, ["kafka.Kafka", self._config()])
        if guard := shutil.which("setpriv"):
            # A test run that is killed takes its brokers along. Linux means the thread that started them: keep it.
            command = [guard, "--pdeathsig", "KILL", *command]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self._process.stdout is not None
        self._output = _Output(self._process.stdout, self.directory / "broker.log")
        if not self._output.ready(timeout_s):
            said = self._output.tail()
            self.stop(timeout_s=5.0)
            raise _failure(f"the broker ended, or was not up in {timeout_s:.0f} s", said)

    def _reap(self, timeout_s: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10.0)
        if self._output is not None:
            self._output.join()
        self._process = None


class _Output:
    """Copies a broker's output to its log, so that its pipe never fills, and notices the sentence that says "ready"."""

    def __init__(self, stream: IO[bytes], log: Path) -> None:
        self._stream, self._log = stream, log
        self._settled = threading.Event()
        self._seen = False
        self._last: deque[str] = deque(maxlen=200)
        self._thread = threading.Thread(target=self._copy, name="kafka-output", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with self._stream, self._log.open("ab", buffering=0) as log:
            for line in self._stream:
                log.write(line)
                self._last.append(line.decode(errors="replace"))
                if READY.encode() in line:
                    self._seen = True
                    self._settled.set()
        self._settled.set()

    def ready(self, timeout_s: float) -> bool:
        """Wait for the sentence or for the end of the output, whichever comes first."""
        self._settled.wait(timeout_s)
        return self._seen

    def tail(self) -> str:
        return "".join(self._last)

    def join(self) -> None:
        self._thread.join(10.0)


def _failure(what: str, said: str) -> Exception:
    if "UnsupportedClassVersionError" in said:
        return KafkaUnavailableError(f"this machine's Java is too old: {REMEDY}")
    return KafkaStartError(f"{what}; Kafka said last:\n{said}")


def _cluster_id() -> str:
    encoded = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return encoded if not encoded.startswith("-") else _cluster_id()  # would read as an option
