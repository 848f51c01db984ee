#!/usr/bin/env bash
# Write the two lock files: what runs (requirements.lock) and what tests too (requirements-dev.lock).
# Hashes pin the content, so no registry's address needs to be recorded.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
compile() {
  CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile --quiet --generate-hashes --strip-extras \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe "$@"
}
compile --output-file requirements.lock pyproject.toml
compile --output-file requirements-dev.lock --extra dev --constraint requirements.lock pyproject.toml
