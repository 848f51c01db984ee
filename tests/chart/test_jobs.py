"""The Jobs and tests that Helm runs: what they are told, what they run, and that it works."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main

from bridge.cli import app
from bridge.cli.files import parse
from bridge.model import Subscription
from bridge.settings import PREFIX, load
from tests.chart.examples import CI, GOOD, changed, variables
from tests.support.helm import Chart, Manifest, Manifests, hooks

DELETED = "before-hook-creation,hook-succeeded"


def spec(manifest: Manifest) -> dict[str, Any]:
    """Give the pod of a Job, or of a test."""
    given: dict[str, Any] = manifest["spec"]
    return given["template"]["spec"] if manifest["kind"] == "Job" else given


def only_container(manifest: Manifest) -> dict[str, Any]:
    (only,) = spec(manifest)["containers"]
    return dict(only)


def jobs(manifests: Manifests) -> dict[str, Manifest]:
    return {name.rpartition("-")[2]: one for name, one in manifests.of("Job").items()}


def understood(arguments: list[str]) -> click.Context:
    """Let the command line read arguments, without doing what they say."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context: click.Context = command.make_context("tickbridge", list(arguments))
    return context


def test_there_is_no_job_unless_it_is_asked_for(chart: Chart) -> None:
    assert not jobs(chart.render(GOOD))


def test_topics_are_made_before_and_subscriptions_applied_after_the_bridge(chart: Chart) -> None:
    made = jobs(chart.render(CI["full"]))
    assert hooks(made["topics"]) == ["pre-install", "pre-upgrade"]
    assert hooks(made["subscriptions"]) == ["post-install", "post-upgrade"]


def test_hooks_leave_nothing_behind_when_they_succeed(chart: Chart) -> None:
    made = [one for one in chart.render(CI["full"]) if hooks(one)]
    assert {one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in made} == {DELETED}
    assert sorted(one["kind"] for one in made) == ["ConfigMap", "Job", "Job", "Pod", "Pod", "Secret"]


def test_every_job_ends(chart: Chart) -> None:
    for one in jobs(chart.render(CI["full"])).values():
        assert (one["spec"]["backoffLimit"], one["spec"]["activeDeadlineSeconds"]) == (2, 300)
        assert spec(one)["restartPolicy"] == "Never"


def test_the_command_line_understands_what_the_jobs_say(chart: Chart) -> None:
    made = jobs(chart.render(CI["full"]))
    assert understood(only_container(made["topics"])["args"]).command.name == "ensure"
    applied = understood(only_container(made["subscriptions"])["args"])
    assert (applied.command.name, applied.params["yes"], applied.params["prune"]) == ("apply", True, True)


def test_nothing_is_pruned_unless_that_is_asked_for(chart: Chart) -> None:
    made = jobs(chart.render(changed(("subscriptions", {"AAPL.US": {}}))))
    assert understood(only_container(made["subscriptions"])["args"]).params["prune"] is False


def test_the_jobs_know_kafka_and_the_topics_and_no_token(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for job in jobs(chart.render(CI["full"])).values():
        given = variables(only_container(job))
        for name, value in given.items():
            monkeypatch.setenv(name, value if isinstance(value, str) else "opensesame")
        arrived = load()
        assert not [name for name in given if "TOKEN" in name or name.startswith(f"{PREFIX}UPSTREAM")]
        assert "token" not in str(spec(job)["volumes"])
        assert arrived.kafka.as_librdkafka()["sasl.password"] == "opensesame"
        assert (arrived.topics.ticks, arrived.group_id) == ("crypto.ticks", "crypto-bridge")


def test_what_runs_before_the_release_needs_nothing_of_it(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    topics = jobs(manifests)["topics"]
    secret = variables(only_container(topics))["TICKBRIDGE_KAFKA__SASL_PASSWORD"]["secretKeyRef"]["name"]
    assert hooks(manifests.of("Secret")[secret]) == ["pre-install", "pre-upgrade"]
    assert int(manifests.of("Secret")[secret]["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    assert "serviceAccountName" not in spec(topics)


def test_a_service_account_that_is_there_already_is_used_at_once(chart: Chart) -> None:
    account = {"create": False, "name": "mine"}
    manifests = chart.render(changed(("serviceAccount", account), ("topics.ensureJob.enabled", True)))
    assert spec(jobs(manifests)["topics"])["serviceAccountName"] == "mine"


def test_the_jobs_have_the_files_that_kafka_needs(chart: Chart) -> None:
    topics = jobs(chart.render(CI["sasl-ssl"]))["topics"]
    (volume,) = spec(topics)["volumes"]
    (mount,) = only_container(topics)["volumeMounts"]
    assert volume["secret"]["secretName"] == "kafka-ca"
    assert variables(only_container(topics))["TICKBRIDGE_KAFKA__SSL_CA_LOCATION"] == f"{mount['mountPath']}/ca.crt"


def test_subscriptions_reach_the_file_as_they_were_given(chart: Chart) -> None:
    given = {
        "AAPL.US": {"priority": 2_000_000_000, "stale_after_s": 1234567.5},
        "00700": {"code": "700.HK", "enabled": False, "owner": "desk-3", "note": "{{ no template }}"},
        "ON": {},
    }
    manifests = chart.render(changed(("subscriptions", given)))
    job = jobs(manifests)["subscriptions"]
    (volume,) = spec(job)["volumes"]
    (mount,) = only_container(job)["volumeMounts"]
    config = manifests.of("ConfigMap")[volume["configMap"]["name"]]
    ((name, text),) = config["data"].items()
    assert understood(only_container(job)["args"]).params["file"] == f"{mount['mountPath']}/{name}"
    assert hooks(config) == hooks(job)
    assert parse(text.encode(), name) == {
        "AAPL.US": Subscription("AAPL.US", priority=2_000_000_000, stale_after_s=1234567.5),
        "00700": Subscription("00700", code="700.HK", enabled=False, owner="desk-3", note="{{ no template }}"),
        "ON": Subscription("ON"),
    }


def trials(manifests: Manifests) -> dict[str, Manifest]:
    return {name.partition("-test-")[2]: one for name, one in manifests.of("Pod").items() if hooks(one) == ["test"]}


def test_tests_are_bounded_and_can_be_left_out(chart: Chart) -> None:
    found = trials(chart.render(CI["full"]))
    assert set(found) == {"ready", "round-trip"}
    assert all(one["spec"]["activeDeadlineSeconds"] == 90 for one in found.values())
    assert not trials(chart.render(changed(("tests.enabled", False))))


@contextmanager
def answering(*answers: int) -> Iterator[tuple[str, list[str]]]:
    """Run an HTTP server that gives these answers, the last one for ever; give its address and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(answers[min(len(asked), len(answers)) - 1])
            self.end_headers()
            self.wfile.write(b"what was seen")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/readyz", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_ready(chart: Chart, address: str, seconds: str) -> subprocess.CompletedProcess[str]:
    script, url, _ = only_container(trials(chart.render(GOOD))["ready"])["args"]
    assert url == "http://bridge-tickbridge:8080/readyz"
    command = [sys.executable, "-c", script, address, seconds]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_test_waits_until_the_bridge_is_ready(chart: Chart) -> None:
    with answering(503, 200) as (address, asked):
        ran = run_ready(chart, address, "30")
    assert ran.returncode == 0
    assert asked == ["/readyz", "/readyz"]
    assert "503" in ran.stdout


def test_the_test_fails_where_the_bridge_does_not_get_ready(chart: Chart) -> None:
    with answering(503) as (address, _):
        ran = run_ready(chart, address, "0")
    assert ran.returncode == 1
    assert "what was seen" in ran.stdout
    assert "was not ready in time" in ran.stderr


def round_trip(chart: Chart, tmp_path: Path, answers: list[Any], seconds: str) -> tuple[int, list[list[str]]]:
    """Run the round trip against a command that answers to `status` as told; give its exit code and what was run."""
    program = tmp_path / "tickbridge"
    log = tmp_path / "log"
    (tmp_path / "answers").write_text(json.dumps(answers))
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"log, here = pathlib.Path({str(log)!r}), pathlib.Path({str(tmp_path)!r})\n"
        "answers = json.loads((here / 'answers').read_text())\n"
        "asked = log.read_text().count('\"status\"') if log.exists() else 0\n"
        "with log.open('a') as file: file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "if sys.argv[1] == 'status': print(json.dumps(answers[min(asked, len(answers) - 1)]))\n"
    )
    program.chmod(0o755)
    script, symbol, _ = only_container(trials(chart.render(CI["full"]))["round-trip"])["args"]
    command = [sys.executable, "-c", script, symbol, seconds]
    ran = subprocess.run(command, check=False, capture_output=True, timeout=60, env={"PATH": str(tmp_path)})
    return ran.returncode, [json.loads(line) for line in log.read_text().splitlines()]


def test_the_round_trip_ends_with_the_status_and_leaves_no_record(chart: Chart, tmp_path: Path) -> None:
    code, said = round_trip(chart, tmp_path, [[], [{"state": "disabled"}]], "30")
    assert code == 0
    assert [words[:2] for words in said] == [
        ["subscriptions", "add"],
        ["status", "HELM-TEST.US"],
        ["status", "HELM-TEST.US"],
        ["subscriptions", "remove"],
    ]
    for words in said:
        understood(words)


def test_the_round_trip_fails_where_no_owner_answers_and_leaves_no_record(chart: Chart, tmp_path: Path) -> None:
    code, said = round_trip(chart, tmp_path, [[]], "0")
    assert code == 1
    assert said[-1][:2] == ["subscriptions", "remove"]
