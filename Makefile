# Redoubt. The two commands that matter: `make run` and `make test`.
# Everything a target leaves behind is in bin/ and var/, which git ignores.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Pinned, so that a finding today is a finding tomorrow. `go run` fetches and
# builds them; they are not dependencies of the broker.
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

DATA_DIR   ?= var/redoubt
FUZZTIME   ?= 30s
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
TESTSUM    := bin/testsum

# The race detector watches all but three packages of arithmetic; package testkit
# says why and builds the broker with the same flags.
# The store compresses with what the static binary has, not with the C library.
RACE := -race -tags=pebblegozstd $(foreach pkg,golang.org/x/crypto/argon2 crypto/internal/fips140/mlkem crypto/internal/fips140/edwards25519/field,-gcflags=$(pkg)=-race=false)

# The detector's memory: in huge pages, and set in place up to 4 MiB at a time. By default
# it has small pages, and those of each allocation beyond 64 KiB are given back and taken
# again: up to half of what a test takes. It sees no less so. Package testkit gives the
# same to the programs it starts; the default sleep at the end of each is a second.
WATCH := atexit_sleep_ms=20 no_huge_pages_for_shadow=0 clear_shadow_mmap_threshold=4194304

# What the detector does not watch is built as it is shipped.
PLAIN := CGO_ENABLED=0

# Compilers and linkers have the memory of a machine for tests; what they build does not.
MAKES := env GOGC=400
RUNS := -exec 'env -u GOGC'

# A debugger's tables are a third of what it takes to link fifty programs.
BARE := -ldflags=-w

# Package test is mostly waiting: it begins first, beside two others. Those of its
# tests that judge how long a bystander waits, or must write much in a time, have the
# machine to themselves afterwards, two at a time.
ALONE := ^Test(RevocationMatrix|QueueAttackRows|RightsAttackRows|SessionAttackRows|TopicAttackRows|RescuedMessagesSurviveKills|AFullStoreRefusesAndRecovers)$$

# The packages that take longest begin first, so that none is left to run by itself.
FIRST := ./test ./cmd/redoubt ./conn ./harden ./broker

# What the detector does not let count, and what plays few seeds with it and all of them
# without (testkit.Seeds), in the packages that have any.
UNWATCHED := Alloc|^Test(Seeds|AccessMatrix|ConnectMatrix|AuthMatrix|Model|TwoLoops|RandomHistories|RandomGroupHistories|AnOwedReplaySurvivesCrashes|ADelayedMessageIsPublishedOnceOverACrash|QoS2IsExactlyOnceOverACrash|ManySessionsInOneTurn|Conformance|ASlowSubscriberOfEverythingGetsIt|WalkOfManySessions|SurplusIsThatOfTheWhole|AMillionNames)$$

# What plays in one of many ways with the detector, and in all of them without (conn's play and playTCP).
WAYS := ^(portable|native|native_TLS|portable_WebSocket|native_WebSocket|native_WebSocket_over_TLS|QUIC)$$
PLAYED = $$(awk '/^func Test/ {split($$2, f, "("); name = f[1]} /^\t+play(TCP)?\(t/ {print name}' conn/*_test.go | sort -u | paste -sd'|')

# Packages: deb and rpm, and the chart for Kubernetes.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
HELM := helm.sh/helm/v3/cmd/helm@v3.22.0

.PHONY: help run build build-fips package package-test chart test deps check vuln bench microbench cost fuzz chaos scan conformance mutants

help: ## what each target does
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

run: ## start a broker on 8883 (MQTT over TLS) with its data in var/redoubt
	@mkdir -p var
	go run ./cmd/redoubt serve --data-dir $(DATA_DIR) $(ALLOW_ROOT)

build: ## build bin/redoubt, one static binary
	$(PLAIN) go build -trimpath -o bin/redoubt ./cmd/redoubt

build-fips: ## build bin/redoubt-fips, with the certified module of Go and FIPS 140-3 mode on
	GOFIPS140=certified $(PLAIN) go build -trimpath -o bin/redoubt-fips ./cmd/redoubt
	bin/redoubt-fips version

package: ## deb and rpm for amd64 and arm64, binaries, SBOMs and SHA256SUMS, into bin/package
	NFPM="go run $(NFPM)" packaging/build.sh bin/package

package-test: ## build the packages twice, install the deb in a fresh Debian (as root): files, unit, broker and doctor there; rpm, arm64, container, chart
	NFPM="go run $(NFPM)" HELM="go run $(HELM)" packaging/test.sh

chart: ## lint the Helm chart and make packaging/helm/default.yaml anew
	HELM="go run $(HELM)" packaging/helm/test.sh -rewrite

deps: ## install what the tests need (as root: Debian packages, too)
	@test/clients/deps.sh

# One stream of events from every step; testsum prints it, counts it and gives the
# verdict. A step that fails does not stop the next one: a run tells everything.
test: ## the whole suite; ends with `N passed, N failed`
	@$(PLAIN) go build -o $(TESTSUM) ./internal/tools/testsum
	@{ $(TESTSUM) step deps test/clients/deps.sh; \
	   $(TESTSUM) step gofmt bash -c 'bad=$$(gofmt -l .); echo "$$bad"; test -z "$$bad"'; \
	   $(TESTSUM) step vet $(MAKES) $(PLAIN) go vet ./...; \
	   $(TESTSUM) step build $(MAKES) go build $(RACE) -o bin/watched/redoubt ./cmd/redoubt; \
	   $(TESTSUM) step build $(MAKES) $(PLAIN) go build -o bin/plain/redoubt ./cmd/redoubt; \
	   export WATCHED_REDOUBT=$(CURDIR)/bin/watched/redoubt PLAIN_REDOUBT=$(CURDIR)/bin/plain/redoubt GORACE='$(WATCH)'; \
	   $(TESTSUM) stream race $(MAKES) go test -json $(RACE) -p 3 -parallel 4 $(RUNS) $(BARE) -vet=off -count=1 -timeout 20m -skip '$(ALONE)' $(FIRST) $$(go list ./... | grep -v /internal/lint$$); \
	   $(TESTSUM) stream rules env $(PLAIN) go test -json -vet=off -count=1 -timeout 5m ./internal/lint; \
	   $(TESTSUM) stream alone $(MAKES) go test -json $(RACE) -parallel 2 $(RUNS) $(BARE) -vet=off -count=1 -timeout 10m -run '$(ALONE)' ./test; \
	   $(TESTSUM) stream unwatched $(MAKES) $(PLAIN) go test -json $(RUNS) $(BARE) -vet=off -count=1 -timeout 5m -run '$(UNWATCHED)|'"^($(PLAYED))$$/$(WAYS)" ./conn ./test $$(grep -rlE 'func Test\w*Alloc|testkit\.Seeds\(' --include='*_test.go' . | xargs -n1 dirname | sort -u); \
	 } | $(TESTSUM)

check: ## format, vet (other systems too), house rules and golangci-lint
	@bad=$$(gofmt -l .); echo -n "$$bad"; test -z "$$bad"
	go vet ./...
	GOOS=darwin go vet ./...
	go test ./internal/lint
	go run $(GOLANGCI) run ./...

vuln: ## look for known vulnerabilities in what we build on
	go run $(GOVULNCHECK) ./...

# Rows: see `go run ./internal/tools/benchcompare -help`. ROWS may name subjects; those that are measured
# unless they are named (growth, isolation and latency while something else happens are not) take about half an hour.
ROUNDS  ?= 3
SECONDS ?= 5
ROWS    ?=
SCALE   ?= 1
OUT     ?= bench/results

# Built and then run: `go run` would not pass on the exit code, nor a SIGTERM.
bench: build ## Redoubt beside Mosquitto, row by row in turns (ROUNDS=3 SECONDS=5 ROWS=p2p-q0,latency), into OUT=bench/results
	go build -o bin/benchcompare ./internal/tools/benchcompare
	bin/benchcompare -redoubt bin/redoubt -rounds $(ROUNDS) -seconds $(SECONDS) -rows '$(ROWS)' -scale $(SCALE) -out '$(OUT)'

microbench: ## every Go benchmark, with allocations
	go test -run '^$$' -bench . -benchmem ./...

cost: ## what a login costs the broker, by who judges it
	go test -tags cost -run "^TestCost" -count=1 -v ./test ./backend

fuzz: ## every fuzz target for FUZZTIME (30s); an input that breaks one lands in testdata/fuzz
	@for pkg in $$(go list ./...); do \
	   list=$$(go test -list '^Fuzz' "$$pkg") || { echo "$$list" >&2; exit 1; }; \
	   for name in $$(grep '^Fuzz' <<<"$$list" || true); do \
	     echo "$$pkg $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 3x "$$pkg"; \
	   done; \
	 done

chaos: ## what clients that misbehave and floods of strangers do to others: before and during, judged
	go test -tags chaos -run '^TestChaos' -count=1 -v -timeout 2400s ./test
	go test -tags chaos -run '^TestPowerCutLosesNothingAcknowledged$$|^TestFlippedBitsAreNamed$$' -count=1 -v -timeout 600s ./store/local

scan: ## testssl.sh on every kind of TLS port, half an hour: nothing below the profile
	@command -v testssl >/dev/null || { [[ $$(id -u) == 0 ]] && apt-get install -y --no-install-recommends testssl.sh; } || { echo "testssl is missing: sudo apt-get install testssl.sh"; exit 1; }
	go test -tags scan -run '^TestScan' -count=1 -v -timeout 6000s ./test

conformance: ## every statement of the MQTT standards: where it is cited, which test covers it, and the result
	go run ./internal/tools/conformance

mutants: ## take each defence of security/mutants out of a copy: a test must fail for each
	go run ./internal/tools/mutants -scratch var/mutants
