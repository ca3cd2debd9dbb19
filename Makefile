# make run: see it work.  make test: everything that must hold.  make help: the rest.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 5s
# Packages to test, to lint and to measure, for example: make test PKGS=./scim/...
PKGS ?= ./...

# Where the walk through the console puts its pictures.
SCREENSHOTS ?= $(CURDIR)/screenshots

# Runs a command with one throwaway PostgreSQL shared by all test binaries, or with the one in IDPSYNC_TEST_POSTGRES.
WITH_POSTGRES := go run ./store/storetest/pgtest/run

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/idpsync and bin/fakeidp (no cgo, no dynamic libraries)
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

.PHONY: run
run: build ## see it work: two fake tenants, pulled, changed and repaired; then serves, console included, until Ctrl-C
	bin/idpsync demo

.PHONY: demo
demo: build ## the same, and end
	bin/idpsync demo --once

.PHONY: test
test: postgres pgbouncer promtool chromium ## run all tests, on SQLite and on a real PostgreSQL, the console in a real browser
	IDPSYNC_SCREENSHOTS=$(SCREENSHOTS) $(WITH_POSTGRES) -- go test -timeout 25m $(PKGS)

# The models of Microsoft's SDK take minutes and gigabytes to compile with the race detector, SQLite's own code and password
# hashes run many times slower with it, and none of our code is in them. Whole modules are not left out lightly: what they
# instantiate of the standard library's generic types is left out for everybody, and the detector sees races there.
NO_RACE := $(foreach p,github.com/microsoftgraph/msgraph-sdk-go/... modernc.org/sqlite/lib golang.org/x/crypto/argon2 golang.org/x/crypto/blake2b,-gcflags=$(p)=-race=false)

.PHONY: test-race
test-race: postgres pgbouncer ## run all tests with the race detector, properties on fewer cases
	@command -v gcc >/dev/null || command -v clang >/dev/null || .ci/install gcc libc6-dev
	CGO_ENABLED=1 $(WITH_POSTGRES) -- go test -race $(NO_RACE) -short -timeout 25m $(PKGS)

.PHONY: lint
lint: ## go vet, staticcheck and gofumpt
	go vet $(PKGS)
	go tool staticcheck $(PKGS)
	@unformatted=$$(go tool gofumpt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run: go tool gofumpt -w ."; echo "$$unformatted"; exit 1; fi

.PHONY: lint-api
lint-api: ## check the OpenAPI document with a linter that others wrote
	.ci/openapi/run

.PHONY: independent
independent: ## run SCIM clients that were not written here against idpsync serve
	.ci/independent/run

# A worker that is still busy when the time is up makes `go test` fail with "context deadline exceeded" although no input
# failed: that is tried again.
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 5s)
	@grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+\(' . | sort | \
	while IFS=: read -r file func; do \
		name=$${func#func }; name=$${name%%(*}; \
		echo "$$(dirname $$file) $$name"; \
		for try in 1 2 3; do \
			out=$$(go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$(dirname $$file)" </dev/null 2>&1) && break; \
			if [ $$try = 3 ] || ! grep -q 'context deadline exceeded' <<<"$$out" || grep -q 'Failing input' <<<"$$out"; then echo "$$out"; exit 1; fi; \
		done; \
		tail -n 1 <<<"$$out"; \
	done

.PHONY: bench
bench: postgres ## measure, and print the figures only
	@$(WITH_POSTGRES) -- go test -run '^$$' -bench . -benchmem -timeout 60m $(PKGS) | grep -E '^(Benchmark|FAIL|---)' | sed -E 's/[ \t]+/ /g'

.PHONY: golden
golden: postgres ## write the golden files anew; read the difference before you commit it
	$(WITH_POSTGRES) -- go test -count=1 $$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' . | xargs -n1 dirname | sort -u) -update

# Kills and other faults by the hundred. EPISODES=300 SEED=7 make chaos repeats what a report names.
EPISODES ?= 100
SEED ?= 1
.PHONY: chaos
chaos: postgres pgbouncer ## kill, pause and starve the program EPISODES times (default 100), drawn from SEED
	IDPSYNC_CHAOS_EPISODES=$(EPISODES) IDPSYNC_CHAOS_SEED=$(SEED) $(WITH_POSTGRES) -- go test -count=1 -v -timeout 120m -run 'TestChaos' ./cmd/internal/cli | grep -vE '^=== (RUN|PAUSE|CONT|NAME)'

# Migrations and whoever looks at sessions are left out: they cannot go through a pooler.
.PHONY: pooled
pooled: postgres pgbouncer ## run the tests of store and reconcile through PgBouncer in transaction mode
	IDPSYNC_TEST_POOLED=1 $(WITH_POSTGRES) -- go test -count=1 -timeout 30m -skip 'TestMigrat|TestFailed|TestDriftAtScale|TestPlans|TestFilterPlans' ./store ./reconcile/...

.PHONY: protections
protections: postgres ## take each protection away, and see that a test notices
	$(WITH_POSTGRES) -- go run ./.ci/protections

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf bin coverage* screenshots *.db *.db-*
	find . -name '*.test' -type f -delete

.PHONY: promtool
promtool:
	@.ci/promtool || echo "the alert rules are not tested"

.PHONY: pgbouncer
pgbouncer:
	@$(WITH_POSTGRES) -check-pooler 2>/dev/null || .ci/install pgbouncer || echo "tests behind a pooler are skipped"

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || .ci/install chromium fonts-dejavu-core

# Sees that there is a PostgreSQL to test with, and installs one where there is none.
.PHONY: postgres
postgres:
	@$(WITH_POSTGRES) -check 2>/dev/null || { .ci/install postgresql && $(WITH_POSTGRES) -check; }
