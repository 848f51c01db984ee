"""The cluster and what stands around it, once for all tests: a real Kafka, and the venue's simulator with TLS.

Kafka and venue are processes of the test run in the cluster's network; pods reach them by name, as Services without a
selector. Where no cluster can be had the tests are skipped with the reason, and fail with CI=true. When a test fails,
the report shows the objects, the events and the pods' logs of its namespace.
"""

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.deployment import Deployment
from tests.cluster.figures import Note
from tests.cluster.images import name_of
from tests.cluster.machine import NODE_IP, Machine
from tests.cluster.network import own_network
from tests.cluster.programs import ClusterUnavailableError, Programs, find_programs
from tests.cluster.site import KAFKA_PORT, Site
from tests.support.helm import HelmUnavailableError, find_helm
from tests.support.kafka import KafkaBroker, KafkaUnavailableError

#: Lines for the end of the report: figures that docs/kubernetes.md repeats.
SEEN = pytest.StashKey[list[str]]()

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

#: Seconds for the first test, which may have to wait for a build, and for each of the others.
FIRST_TIMEOUT_S, TIMEOUT_S = 3600, 400

#: How scripts/image.sh says that this machine lacks something.
NOT_HERE = 69


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests alone unless they are asked for by their place."""
    named = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    return None if any(path.is_relative_to(HERE) for path in named) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    own = [item for item in items if item.path.is_relative_to(HERE)]
    for number, item in enumerate(own):
        item.add_marker(pytest.mark.timeout(TIMEOUT_S if number else FIRST_TIMEOUT_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(SEEN, []):
        terminalreporter.section("Seen on the cluster")
        for line in lines:
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        deployments = [one for one in getattr(item, "funcargs", {}).values() if isinstance(one, Deployment)]
        report.sections += [(f"the namespace {one.kube.namespace}", one.kube.report()) for one in deployments]
    return report


@pytest.fixture(scope="session")
def note(request: pytest.FixtureRequest) -> Note:
    return Note(request.config.stash.setdefault(SEEN, []))


@pytest.fixture(scope="session")
def programs() -> Programs:
    try:
        return find_programs()
    except ClusterUnavailableError as reason:
        _go_without(str(reason))


@pytest.fixture(scope="session")
def helm() -> Path:
    try:
        return find_helm()
    except HelmUnavailableError as reason:
        _go_without(str(reason))


@pytest.fixture(scope="session")
def image(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of the Dockerfile, as an archive; TICKBRIDGE_IMAGE names one that was built before."""
    if given := os.environ.get("TICKBRIDGE_IMAGE"):
        return Path(given)
    output = tmp_path_factory.mktemp("image") / "tickbridge.tar"
    command = [str(ROOT / "scripts" / "image.sh"), "--no-registry", str(output), "tickbridge:cluster-test"]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    if built.returncode == NOT_HERE:
        _go_without(f"the image cannot be built here: {built.stderr.strip()}")
    assert built.returncode == 0, (built.stdout + built.stderr)[-3000:]
    return output


@pytest.fixture(scope="session")
def machine(programs: Programs, image: Path, helm: Path) -> Iterator[Machine]:
    """The cluster; from here on this process stands in its network, so whatever is fetched was fetched before."""
    try:
        with own_network(), Machine(programs) as machine:
            machine.load(image)
            yield machine
    except ClusterUnavailableError as reason:
        _go_without(str(reason))


@pytest.fixture(scope="session")
def broker(machine: Machine) -> Iterator[KafkaBroker]:
    """A real Kafka; its clients, pods among them, reach it at the node's address."""
    listeners = f"CLIENT://0.0.0.0:{KAFKA_PORT},CONTROLLER://127.0.0.1:{KAFKA_PORT + 1}"
    extra = {"listeners": listeners, "advertised.listeners": f"CLIENT://{NODE_IP}:{KAFKA_PORT}"}
    try:
        with KafkaBroker(extra, choose_ports=lambda: (KAFKA_PORT, KAFKA_PORT + 1)) as broker:
            yield broker
    except KafkaUnavailableError as reason:
        _go_without(str(reason))


@pytest.fixture(scope="session")
def site(
    machine: Machine, broker: KafkaBroker, helm: Path, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """The cluster with Kafka's and the venue's names in it."""
    return Site(machine, broker, helm, name_of(image), tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def deploy(site: Site) -> Iterator[Callable[..., Deployment]]:
    """Prepare releases, each with a namespace and a venue of its own; arguments are those of `Site.prepare`."""
    with ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(site.prepare(*arguments, **more))


def _go_without(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
