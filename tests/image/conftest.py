"""What the tests of the real image share. `make image-test` runs them; a plain run of pytest does not collect them.

Whoever asks for them wants to know how the image does, so what is missing ends the run, with its name and an exit code
other than 0.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.engine import Engine, MissingError, any_engine

collect_ignore_glob = [] if os.environ.get("TICKBRIDGE_TEST_IMAGE") else ["test_*.py"]

TAG = "tickbridge:under-test"
BUILD_S = 900


@dataclass(frozen=True)
class Image:
    """The image as it was built: its tag, the engine that has it, and what `docker save` made of it."""

    tag: str
    engine: Engine
    archive: Path


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(any_engine())
        except MissingError as missing:
            pytest.exit(f"the image cannot be tested here: {missing}", returncode=1)
        yield found


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built from bases made on the spot unless TICKBRIDGE_TEST_IMAGE=registry asks for the real ones."""
    bases = [] if os.environ["TICKBRIDGE_TEST_IMAGE"] == "registry" else ["--no-registry"]
    archive = tmp_path_factory.mktemp("image") / "tickbridge.tar"
    try:
        engine.run("scripts/image.sh", *bases, str(archive), TAG, timeout_s=BUILD_S)
    except MissingError as missing:
        pytest.exit(f"the image cannot be built here: {missing}", returncode=1)
    return Image(TAG, engine, archive)
