"""What a test is told when Apache Kafka cannot be had, or will not start."""

REMEDY = (
    "install Java 17 or newer and Maven (Debian, Ubuntu: apt-get install default-jre-headless maven; "
    "Fedora: dnf install java-latest-openjdk-headless maven; macOS: brew install openjdk maven), "
    "or start a Docker engine, or set TICKBRIDGE_TEST_KAFKA to the bootstrap servers of a cluster made for tests"
)


class KafkaUnavailableError(Exception):
    """This road leads to no Kafka; the message says why and what would help."""


class KafkaStartError(Exception):
    """Kafka was at hand and did not start. Properties are wrong, or the machine is ill: never a reason to skip."""
