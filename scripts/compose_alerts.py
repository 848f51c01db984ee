"""Writes ``deploy/compose/alerts.yml``: the chart's alerts with its own thresholds, for the Prometheus of compose.

``python -m scripts.compose_alerts`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the
file says anything else than the chart. The chart's template does the same in Helm's language: it fills in
``files/alerts.yaml`` from the value ``prometheusRule``. It adds links to the runbook, which lead nowhere from here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from scripts.settings_table import write_or_check

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "tickbridge"
ALERTS = ROOT / "deploy" / "compose" / "alerts.yml"

HEAD = "# Written by `python -m scripts.compose_alerts` from helm/tickbridge; change it there.\n"
#: The series of compose's bridge, by the labels that deploy/compose/prometheus.yml gives them.
SELECTOR = 'namespace="compose",job="tickbridge"'


def text() -> str:
    """Give the whole file."""
    rule = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]
    template = (CHART / "files" / "alerts.yaml").read_text().replace("${selector}", SELECTOR)
    for name, value in rule["thresholds"].items():
        template = template.replace(f"${{{name}}}", str(value))
    return HEAD + template[template.index("groups:") :]


if __name__ == "__main__":
    sys.exit(write_or_check(ALERTS, text, sys.argv[1:]))
