#!/usr/bin/env bash
# U1: how long from starting the (built) demo until a browser shows the first chart with data.
set -euo pipefail
cd "$(dirname "$0")/../.."
port=${PORT:-19580} control=${CONTROL:-19590}
dir=$(mktemp -d)
began=$(date +%s%N)
bin/weir-demo run --no-open --listen "127.0.0.1:$port" --control "127.0.0.1:$control" --dir "$dir/demo" </dev/null >"$dir/log" 2>&1 &
demo=$!
trap 'kill -INT $demo 2>/dev/null; wait $demo 2>/dev/null || true; rm -rf "$dir"' EXIT
# The browser starts beside the demo, as a person opens the page.
node ui/e2e/first-chart.mjs "http://127.0.0.1:$port" >"$dir/first" 2>&1 &
first=$!
until curl -fsS "http://127.0.0.1:$port/-/ready" >/dev/null 2>&1; do
  kill -0 $demo 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  sleep 0.05
done
ready=$(( ($(date +%s%N) - began) / 10000000 ))
wait $first || { cat "$dir/first" >&2; exit 1; }
echo "| from starting the built demo to | s |"
echo "|---|---|"
printf '| pages are served | %d.%02d |\n' $((ready / 100)) $((ready % 100))
awk 'END { printf "| first chart with data in Chromium | %.2f |\n", $1 / 1000 }' "$dir/first"
