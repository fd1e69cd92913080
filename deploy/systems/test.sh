#!/usr/bin/env bash
# Real brokers beside weir: installs what it can, says loudly what it could not, and runs the tests tagged systems.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  want=()
  command -v redis-server >/dev/null || want+=(redis-server)
  command -v rabbitmq-server >/dev/null || want+=(rabbitmq-server)
  if [ ${#want[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null || echo "!!! cannot install ${want[*]}"
  fi
fi
lib=$PWD/.tools/kafka
if [ ! -d "$lib" ]; then
  if command -v mvn >/dev/null && command -v java >/dev/null; then
    mvn -q -B -f deploy/systems/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$lib" || { echo "!!! cannot fetch Kafka"; rm -rf "$lib"; }
  else
    echo "!!! no Java or Maven: Kafka is not tested"
  fi
fi
[ -d "$lib" ] && export WEIR_TEST_KAFKA=$lib
CGO_ENABLED=0 go test -tags systems ./collector/broker -run System -count=1 -v "$@" | grep -v "^=== RUN"
