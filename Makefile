# weir: `make demo` shows it, `make test` proves it. `make help` lists everything.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
BIN       := bin
TOOLS     := .tools
LINT      := $(TOOLS)/golangci-lint-v2.15.0
FUMPT     := $(TOOLS)/gofumpt-v0.12.0
GOBUILD   := CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)'
GO_FILES  := $(shell find . -name '*.go' -not -path './ui/node_modules/*' -not -path './.git/*')
UI_FILES  := $(shell find ui/src ui/public ui/index.html ui/package-lock.json ui/vite.config.ts -type f 2>/dev/null)
# Packages small enough that the race detector pays for its time.
RACE      := ./collector/... ./query/live ./query/flow ./query/pipeline/ledger ./query/pipeline/changes ./alerts ./ingest/... ./internal/... ./store/local/...

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9_-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: $(BIN)/weir $(BIN)/weir-collector ## Build bin/weir (with the UI) and bin/weir-collector, static

$(BIN)/weir: $(GO_FILES) go.mod go.sum ui/dist/app/index.html
	@echo "building weir (the first time takes some minutes)"
	$(GOBUILD) -o $@ ./cmd/weir

$(BIN)/weir-collector: $(GO_FILES) go.mod go.sum
	$(GOBUILD) -o $@ ./cmd/weir-collector

$(BIN)/weir-demo: $(GO_FILES) go.mod go.sum
	$(GOBUILD) -o $@ ./deploy/demo

.PHONY: ui
ui: ui/dist/app/index.html ## Build the UI into ui/dist

ui/node_modules/.installed: ui/package-lock.json
	cd ui && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

ui/dist/app/index.html: ui/node_modules/.installed $(UI_FILES)
	cd ui && npm run --silent build
	@touch $@

.PHONY: ui-types
ui-types: ui/node_modules/.installed ## Regenerate the OpenAPI document and the UI's types from query/answer
	CGO_ENABLED=0 go test ./query/api -run TestOpenAPIDocumentIsCurrent -update
	cd ui && npm run --silent types

.PHONY: run
run: build ## Run weir on this machine with the defaults
	$(BIN)/weir

.PHONY: demo
demo: build $(BIN)/weir-demo ## Start a real pipeline beside weir, with faults on a switch; Ctrl-C ends it
	$(BIN)/weir-demo run

.PHONY: demo-check
demo-check: build $(BIN)/weir-demo ## Play all scenes headless: injected = reported, stage named (one-minute windows)
	$(BIN)/weir-demo check --dir /tmp/weir-demo-check

.PHONY: demo-check-short
demo-check-short: build $(BIN)/weir-demo ## The same with ten-second windows, for CI
	$(BIN)/weir-demo check --short --dir /tmp/weir-demo-check

.PHONY: bench-demo
bench-demo: build $(BIN)/weir-demo ## T2: five runs of all scenes with one-minute windows (more than an hour)
	$(RECORD) demo -- $(BIN)/weir-demo check $(if $(SHORT),--short )--runs 5 --dir /tmp/weir-demo-check

.PHONY: test
test: ## Everything CI runs; installs what is missing or says what it could not
	@bash deploy/ci/test.sh

.PHONY: test-go
test-go: ## Go tests
	CGO_ENABLED=0 go test ./...

.PHONY: test-race
test-race: ## Go tests under the race detector, where it pays (needs a C compiler)
	CGO_ENABLED=1 go test -race -short $(RACE)

.PHONY: test-ui
test-ui: ui/node_modules/.installed ## UI: types, lint, unit tests, bundle size
	cd ui && npm run --silent lint && npm test --silent && npm run --silent build && npm run --silent size

.PHONY: e2e
e2e: ui/dist/app/index.html ## UI pages in a real Chromium, with recorded answers
	cd ui && npm run --silent e2e

.PHONY: e2e-real
e2e-real: build $(BIN)/weir-demo ## UI pages in a real Chromium, against the running demo
	bash deploy/ci/e2e-real.sh

.PHONY: test-systems
test-systems: ## Real brokers (Redis, RabbitMQ, Kafka) where they can be had; RECORD=1 renews the fixtures
	bash deploy/systems/test.sh $(if $(RECORD),-record)
TRUTH_RUNS ?= 1500
TRUTH_EACH ?= 40
.PHONY: truth
truth: ## Random pipelines with random faults, every verdict compared with the truth (TRUTH_RUNS; recorded in docs/benchmarks.md)
	$(RECORD) truth -- bash -ec 'for more in "-truth.runs=$(TRUTH_RUNS)" "-truth.runs=$(TRUTH_EACH) -truth.kind=each"; do CGO_ENABLED=0 go test ./query/pipeline/world -run "TestTruth$$" -v -count=1 -timeout 60m -truth.table $$more; done'

.PHONY: fuzz
fuzz: ## Every fuzz target for 30 s
	bash deploy/ci/fuzz.sh 30s

.PHONY: lint
lint: $(LINT) ## golangci-lint over everything
	$(LINT) run ./...

.PHONY: fmt
fmt: $(FUMPT) ## Format Go and UI sources
	$(FUMPT) -w $(shell find . -name '*.go' -not -path './ui/node_modules/*')
	cd ui && npx biome check --write src

$(LINT):
	GOBIN=$(CURDIR)/$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	@mv $(TOOLS)/golangci-lint $@

$(FUMPT):
	GOBIN=$(CURDIR)/$(TOOLS) go install mvdan.cc/gofumpt@v0.12.0
	@mv $(TOOLS)/gofumpt $@

.PHONY: docs
docs: ## Regenerate the configuration reference
	CGO_ENABLED=0 go test ./cmd/weir -run ConfigurationReference -update-docs

RECORD := go run ./deploy/bench record
.PHONY: bench bench-statsd bench-scrape bench-broker bench-ingest bench-spans bench-store bench-freshness bench-first-chart bench-kill bench-pipelines bench-lag bench-drain
bench: bench-statsd bench-scrape bench-broker bench-ingest bench-spans bench-store bench-freshness bench-first-chart bench-kill bench-pipelines bench-lag bench-drain ## All benchmarks; each writes its table to docs/benchmarks.md
bench-statsd: ## P1, P2: statsd received and aggregated
	$(RECORD) statsd -- go run ./collector/statsd/bench
bench-scrape: ## P3: scrape and ship
	$(RECORD) scrape -- go run ./collector/scrape/bench
bench-broker: ## Kafka polled: 3,000 partitions, 50 groups
	$(RECORD) broker -- go run ./collector/broker/bench
bench-ingest: ## P5, P6, P9: remote write and spans over HTTP, acknowledged after fsync
	$(RECORD) ingest -- go run ./ingest/bench
bench-spans: ## P9, P10: the span store alone
	$(RECORD) spans -- go run ./store/local/spandb/bench
bench-store: ## P5 to P8: the metric store alone
	CGO_ENABLED=0 go test ./store/local/metricdb -run xxx -bench 'KnownSeries|NewSeries|Memory|Disk' -benchtime 20x
bench-freshness: build ## P12: datagram received to value on an open page
	$(RECORD) freshness -- go run ./deploy/bench freshness
bench-first-chart: build $(BIN)/weir-demo ## U1: start of the demo to the first real chart in a browser
	$(RECORD) first-chart -- bash deploy/ci/first-chart.sh
bench-pipelines: ## P11, U2: evaluation and answers at 1,000 pipelines, 15,000 groups, 10,000 partitions
	$(RECORD) pipelines -- go run ./query/pipeline/bench
bench-lag: ## T3: error of the stated time lag against the truth
	$(RECORD) lag -- go run ./deploy/bench lagtruth
bench-drain: ## T4: drain forecasts against the truth
	$(RECORD) drain -- go run ./deploy/bench drain --seed 100000 # seeds that nothing was fitted on
bench-kill: build ## R1: kill -9 of server and collector under load, then count what is missing or doubled
	$(RECORD) kill -- bash -c 'set -o pipefail; $(BIN)/weir soak --mode kill --kills 20 --collector-bin $(BIN)/weir-collector --markdown'

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) ui/dist/app weir-demo-data
