#!/usr/bin/env bash
# Compile the pinned, hashed requirements: all.txt for the one .venv, uv.txt for the installer
# that is quicker than pip, and one file per service for its image. Run through `make lock` when
# pyproject.toml changes.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile pyproject.toml --quiet \
    --universal --python-version 3.11 --generate-hashes --no-emit-index-url "$@"
}
extras=(feeds pricer risk broker monitors reporting lab cli dev)
compile "${extras[@]/#/--extra=}" --output-file requirements/all.txt
echo uv | UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile - --quiet \
  --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --constraint requirements/all.txt --output-file requirements/uv.txt
for service in feeds pricer risk broker monitors reporting; do
  compile --extra "$service" --constraint requirements/all.txt \
    --output-file "requirements/$service.txt"
done
