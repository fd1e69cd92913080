#!/usr/bin/env bash
# Starts the demo on ports of its own, plays a fault, and walks the pages of the real server in Chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
port=${PORT:-19480} control=${CONTROL:-19490}
dir=$(mktemp -d)
bin/weir-demo run --no-open --listen "127.0.0.1:$port" --control "127.0.0.1:$control" --dir "$dir/demo" \
  --window 10s --grace 5s --sampling 0.2 </dev/null >"$dir/log" 2>&1 &
demo=$!
trap 'kill -INT $demo 2>/dev/null; wait $demo 2>/dev/null || true; rm -rf "$dir"' EXIT
node ui/e2e/first-chart.mjs "http://127.0.0.1:$port" >"$dir/first" 2>&1 &
first=$!
for _ in $(seq 150); do
  curl -fsS "http://127.0.0.1:$control/" >/dev/null 2>&1 && break
  kill -0 $demo 2>/dev/null || { cat "$dir/log"; exit 1; }
  sleep 0.2
done
kept=
for _ in $(seq 200); do # until it was seen once that enrich puts out what it takes in, what is missing there is UNKNOWN
  curl -fsS "http://127.0.0.1:$port/api/v1/loss" | grep -o '"id":"orders~balance~enrich~[^}]*' | grep -q '"verdict":"OK"' && kept=yes && break
  sleep 0.3
done
[ -n "$kept" ] || { echo "no window of enrich was settled within a minute"; tail -20 "$dir/log"; exit 1; }
curl -fsS -X POST -d name=drop "http://127.0.0.1:$control/scene" >/dev/null
if wait $first; then
  echo "first chart with data $(cat "$dir/first") ms after the start of the demo"
else
  cat "$dir/first"
  [ "$(wc -l <"$dir/log")" = 0 ] || tail -20 "$dir/log"
fi
settled=
for _ in $(seq 200); do # the first settled loss makes the Loss page worth looking at
  curl -fsS "http://127.0.0.1:$port/api/v1/loss" | grep -q '"verdict":"LOSS"' && settled=yes && break
  sleep 0.3
done
[ -n "$settled" ] || { echo "no loss was settled within a minute"; tail -20 "$dir/log"; exit 1; }
cd ui && BASE="http://127.0.0.1:$port" npm run --silent e2e
