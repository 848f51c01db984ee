#!/usr/bin/env bash
# Write the lock files: what runs (requirements.lock), what tests too (requirements-dev.lock), what builds (requirements-build.lock).
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
compile --output-file requirements-build.lock --only-build-deps --build-deps-for wheel \
  --constraint requirements-dev.lock pyproject.toml
