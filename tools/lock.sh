#!/usr/bin/env bash
# Compile the pinned, hashed requirements: all.txt for the one .venv, uv.txt for the installer
# that is quicker than pip, conformance.txt for the exchange's own SDKs, rivals.txt for a benchmark,
# and one file per service
# for its image. Run through `make lock` when pyproject.toml changes.
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
# They ask for Python 3.13 and run on 3.11: the Makefile installs them as they are, without what
# they need, which is in the dev extra.
printf 'kalshi-python-%s==3.34.0\n' sync async | UV_CUSTOM_COMPILE_COMMAND="make lock" \
  .venv/bin/uv pip compile - --quiet --no-deps --python-version 3.13 --generate-hashes \
  --no-emit-index-url --output-file requirements/conformance.txt
# The rival of tests/bench/bench_backtest.py, in an environment of its own. Later versions than this
# want Python 3.12.
echo 'nautilus_trader==1.221.0' | UV_CUSTOM_COMPILE_COMMAND="make lock" \
  .venv/bin/uv pip compile - --quiet --python-version 3.11 --generate-hashes \
  --no-emit-index-url --output-file requirements/rivals.txt
for service in feeds pricer risk broker monitors reporting; do
  compile --extra "$service" --constraint requirements/all.txt \
    --output-file "requirements/$service.txt"
done
