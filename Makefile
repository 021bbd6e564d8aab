# certd: everything a developer or a CI machine runs. The work is in build/*.sh.

GO       ?= go
FUZZTIME ?= 30s
SERVE    ?=
MAINTAINER ?=
PREFIX   ?= /usr/local
DESTDIR  ?=
DNS      ?= 1

# The version is stamped by build/build.sh; a tree that git does not trust still builds.
GOFLAGS  ?= -buildvcs=false

export GO GOFLAGS FUZZTIME PREFIX DESTDIR DNS MAINTAINER

.DEFAULT_GOAL := help
.PHONY: help demo build test check fuzz bench install deb deb-test clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work against an embedded CA; SERVE=1 leaves it running
	@DNS=0 build/build.sh
	$(GO) run ./cmd/certd-demo -certd bin/certd $(if $(filter-out 0,$(SERVE)),-serve)

build: ## bin/certd and bin/certd-dns, static binaries; DNS=0 leaves the second out
	@build/build.sh

test: ## everything CI runs: checks, race tests with real servers, fuzzing
	@build/test.sh

check: ## format, vet, module files, staticcheck, govulncheck: no tests
	@build/check.sh

fuzz: ## each fuzz target for FUZZTIME (30s)
	@build/fuzz.sh

bench: ## certd beside other ACME clients; writes docs/benchmarks.md; ten minutes or more
	@build/bench.sh

install: ## certd, man pages, completions, units below DESTDIR and PREFIX (/usr/local)
	@build/install.sh

deb: ## dist/certd_<version>_<arch>.deb; GOARCH=arm64, MAINTAINER='Name <mail>'
	@build/deb.sh

deb-test: ## install, upgrade, remove, purge the package in a throw-away root; as root
	@build/deb-test.sh

clean: ## remove bin/ and dist/
	rm -rf bin dist
