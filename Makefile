# rr: what a developer runs. `make help` lists the targets.
#
# Everything is made from this checkout and the Go module proxy; results go to
# bin/, which git ignores. Needs Go 1.26 and GNU make; `make test` installs what
# else the tests need where it can.

CADDY_VERSION = v2.11.9
FUZZTIME      = 20s
FUZZ          = .
SCALE         = 1000000
BENCHFLAGS    =
CHAOS        ?= 15m

# What `make release` is to be a release of, as v1.2.3: the tag of the commit that is
# checked out. Without it, of whatever is checked out.
VERSION =
PLATFORMS =

# What xcaddy passes to `go build`; this is its own default.
XCADDY_GO_BUILD_FLAGS ?= -trimpath -tags=nobadger,nomysql,nopgx -ldflags='-w -s'

# 1 makes a test fail that would be skipped because something outside Go is
# missing (node, for the examples that use it); `make test` has installed it.
RR_REQUIRE_EXTERNAL ?= 1
export RR_REQUIRE_EXTERNAL

.DEFAULT_GOAL := help
.PHONY: help run test chaos deps bench bench-scale lint fuzz build release reproducible tools caddy clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

run: caddy ## start the quickstart example: the gateway in front of a vendor's mock server
	sh examples/quickstart/run.sh

test: deps caddy ## all tests of every module, with the race detector
	sh .ci/test.sh

chaos: ## everything around the gateway fails, alone and together, under load, for CHAOS
	CHAOS=$(CHAOS) go test -race -count=1 -timeout 0 -run '^TestChaos$$' -v ./test/chaos

deps: ## install what the tests need outside Go
	sh .ci/deps.sh

bench: caddy ## CPU, memory and latency per request against the same Caddy's bare reverse_proxy (BENCHFLAGS=-help)
	go build -buildvcs=false -o bin/bench ./internal/bench
	bin/bench $(BENCHFLAGS)

bench-scale: ## what many cost: up to SCALE credentials, and rules, proxies, connections, streams with them
	RR_SCALE=$(SCALE) go test -count=1 -timeout 60m -run '^TestScale$$' -v ./test

lint: tools ## gofmt, go vet and staticcheck, in every module
	sh .ci/lint.sh

fuzz: ## every fuzz target, for FUZZTIME each (FUZZ=regexp chooses some)
	FUZZTIME=$(FUZZTIME) FUZZ='$(FUZZ)' sh .ci/fuzz.sh

# The version v0.0.0 stands for this checkout: with one, Go takes the folder and
# does not ask the proxy which versions are published.
build: tools ## a production Caddy with rr, by xcaddy, as bin/caddy-rr
	XCADDY_GO_BUILD_FLAGS="$(XCADDY_GO_BUILD_FLAGS)" bin/xcaddy build $(CADDY_VERSION) \
		--with github.com/caddy-rr/caddy-rr@v0.0.0=. --output bin/caddy-rr
	sh .ci/modules.sh bin/caddy-rr

release: tools ## what is published, for all platforms, in bin/release (VERSION=v1.2.3)
	go run ./internal/release archives -version "$(VERSION)" $(if $(PLATFORMS),-platforms $(PLATFORMS))
	go run ./internal/release check

reproducible: ## build the published binary twice from nothing: the same file must come out
	sh .ci/reproducible.sh cold

caddy: ## Caddy with rr for tests and examples, as bin/caddy
	go build -buildvcs=false -o bin/caddy ./cmd/caddy

tools: ## the tools of tools/go.mod: xcaddy, staticcheck, govulncheck, cyclonedx-gomod
	CGO_ENABLED=0 go -C tools build -buildvcs=false -trimpath -o ../bin/ tool

clean: ## remove what was built
	rm -rf bin
