#!/usr/bin/env bash
# U1: how long from starting the (built) demo until a browser shows the first chart with data.
set -euo pipefail
cd "$(dirname "$0")/../.."
port=${PORT:-19580} control=${CONTROL:-19590}
log=$(mktemp)
began=$(date +%s%N)
bin/weir-demo run --no-open --listen "127.0.0.1:$port" --control "127.0.0.1:$control" --dir /tmp/weir-first-chart </dev/null >"$log" 2>&1 &
demo=$!
trap 'kill -INT $demo 2>/dev/null; wait $demo 2>/dev/null || true' EXIT
until curl -fsS "http://127.0.0.1:$port/-/ready" >/dev/null 2>&1; do
  kill -0 $demo 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.05
done
ready=$(date +%s%N)
(cd ui && node e2e/first-chart.mjs "http://127.0.0.1:$port" >&2)
drawn=$(date +%s%N)
echo "| from \`make demo\` (built) to | s |"
echo "|---|---|"
printf '| pages are served | %d.%02d |\n' $(((ready - began) / 1000000000)) $(((ready - began) / 10000000 % 100))
printf '| first chart with data in Chromium | %d.%02d |\n' $(((drawn - began) / 1000000000)) $(((drawn - began) / 10000000 % 100))
