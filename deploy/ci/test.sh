#!/usr/bin/env bash
# Everything CI runs, in the order in which it fails fastest. Each step says how long it took.
set -euo pipefail
cd "$(dirname "$0")/../.."

steps=() ; missing=()
step() {
  local name=$1; shift
  echo; echo "=== $name"
  local began=$SECONDS
  "$@"
  steps+=("$(printf '%-34s %4d s' "$name" $((SECONDS - began)))")
}
lack() { echo "!!! $1" >&2; missing+=("$1"); }

need() { command -v "$1" >/dev/null || { echo "cannot test: $1 is missing; $2" >&2; exit 1; }; }
need go "install Go 1.26 or newer"
need node "install Node 20.19 or newer"
need npm "install npm"

chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "=== installing chromium"
  { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || true
  chromium=$(command -v chromium || true)
fi

step "build"                   make --no-print-directory build bin/weir-demo
step "go vet and tests"        make --no-print-directory test-go
if command -v gcc >/dev/null || command -v clang >/dev/null; then
  step "race detector"         make --no-print-directory test-race
else
  lack "no C compiler: the tests did not run under the race detector"
fi
step "lint"                    make --no-print-directory lint
step "ui: lint, unit, size"    make --no-print-directory test-ui
if [ -n "$chromium" ]; then
  export CHROMIUM=$chromium
  step "ui: pages in a browser" make --no-print-directory e2e
  step "ui: pages of the real demo" make --no-print-directory e2e-real
else
  lack "no Chromium: the pages were not tested in a browser (apt-get install chromium, or set CHROMIUM)"
fi
step "demo: injected = reported" make --no-print-directory demo-check-short

echo; echo "=== all steps passed"; printf '%s\n' "${steps[@]}"
for m in "${missing[@]:-}"; do [ -z "$m" ] || echo "NOT DONE: $m"; done
echo "${#steps[@]} passed, 0 failed, ${#missing[@]} skipped"
