#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given (default 30 s each).
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${1:-30s}
for dir in $(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | xargs -n1 dirname | sort -u); do
  for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | awk '{print $2}'); do
    echo "=== $dir $target"
    CGO_ENABLED=0 go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
  done
done
