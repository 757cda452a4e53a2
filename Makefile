# `make run` starts the server with its example page; `make test` checks everything.
# What tests need beside Go is installed by `make deps`, once per machine, into the
# user's cache directory: a second checkout finds it there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

# Databases that certificate stores of Caddy could use and nobody here does. They
# make up a good part of the build. A caller's own flags stay.
TAGS := nobadger,nomysql,nopgx
ifeq (,$(findstring nobadger,$(GOFLAGS)))
export GOFLAGS := $(strip $(GOFLAGS) -tags=$(TAGS))
endif

GOLANGCI_LINT_VERSION := v2.15.0

# Beside what is named here, versions stand in: go.mod, internal/kafkatest/poms/,
# test/package-lock.json, test/requirements.txt.
ifeq ($(shell uname -s),Darwin)
USER_CACHE := $(HOME)/Library/Caches
else
USER_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
endif
CACHE ?= $(USER_CACHE)/kafkaws

# Directories are named after what was asked for, so that other pins are another directory.
sum = $(shell cat $(1) | cksum | cut -d' ' -f1)
GO_VERSION = $(shell go env GOVERSION)
TOOLS   = $(CACHE)/tools-$(GO_VERSION)
LINT    = $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
NODE    = $(CACHE)/node-$(call sum,test/package-lock.json)
PYTHON  = $(CACHE)/python-$(call sum,test/requirements.txt)-$(shell python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BROWSER = $(firstword $(shell command -v chromium chromium-browser google-chrome google-chrome-stable))

# What tests find their tools by. Where one is not set, a test looks in the PATH.
TEST_ENV = KAFKAWS_REQUIRE_KAFKA=1 \
	KAFKAWS_NODE_PATH='$(NODE)/node_modules' \
	KAFKAWS_PYTHON='$(PYTHON)/bin/python' \
	KAFKAWS_CHROMIUM='$(BROWSER)'

CADDYFILES = $(shell find . -type d \( -name node_modules -o -name '.?*' -o -name bin \) -prune -o -type f \( -name 'Caddyfile' -o -name 'Caddyfile.*' -o -name '*.caddyfile' \) -print | sort)
# Modules of their own, that ./... of the root leaves out.
MODULES = $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod bench/go.mod))

.PHONY: build
build: ## build Caddy with this module into bin/
	go build -o bin/caddy ./cmd/caddy

.PHONY: run
run: build ## start the example on http://localhost:8080/
	./bin/caddy run --config Caddyfile.example --adapter caddyfile

.PHONY: deps deps-system deps-kafka deps-node deps-python deps-lint
deps: deps-system ## install what tests need
	@$(MAKE) deps-kafka deps-node deps-python deps-lint

deps-system:
	@test/system-deps.sh

deps-kafka:
	@go run ./internal/kafkatest/fetch >/dev/null

# A marker, not the directory, says that an installation was not cut short.
deps-node:
	@if [ ! -e '$(NODE)/.complete' ]; then \
		rm -rf '$(NODE)' && mkdir -p '$(NODE)' && \
		cp test/package.json test/package-lock.json '$(NODE)/' && \
		npm --prefix '$(NODE)' ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null && \
		touch '$(NODE)/.complete'; \
	fi

deps-python:
	@if [ ! -e '$(PYTHON)/.complete' ]; then \
		rm -rf '$(PYTHON)' && python3 -m venv '$(PYTHON)' && \
		'$(PYTHON)/bin/python' -m pip install --quiet --disable-pip-version-check -r test/requirements.txt && \
		touch '$(PYTHON)/.complete'; \
	fi

deps-lint:
	@if [ ! -x '$(LINT)' ]; then \
		mkdir -p '$(TOOLS)' && tmp=$$(mktemp -d '$(TOOLS)/build-XXXXXX') && trap 'rm -rf "$$tmp"' EXIT && \
		GOFLAGS= GOBIN="$$tmp" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION) && \
		mv "$$tmp/golangci-lint" '$(LINT)'; \
	fi

.PHONY: test
test: deps fmt-check vet lint caddyfiles test-modules ## check everything; nothing is skipped
	$(TEST_ENV) go test -race -count=1 -timeout 25m ./...

.PHONY: test-short
test-short: ## the tests that need nothing but Go and are quick
	go test -short ./...

.PHONY: test-modules
test-modules:
	@for dir in $(MODULES); do \
		echo "testing $$dir"; \
		(cd "$$dir" && go vet ./... && $(TEST_ENV) go test -race -count=1 -timeout 10m ./...) || exit 1; \
	done

.PHONY: bench
bench: ## what a delivery costs, beside references; BENCH='-help' lists its flags
	cd bench && go run . $(BENCH)

.PHONY: bench-smoke
bench-smoke: ## the same, small and for correctness only; test-modules runs it too
	cd bench && $(TEST_ENV) go test -count=1 -v -timeout 5m .

.PHONY: conformance
conformance: deps-system deps-python ## all cases of Autobahn; make test runs the quick ones
	$(TEST_ENV) KAFKAWS_AUTOBAHN=all go test -count=1 -v -timeout 30m -run Autobahn ./...

.PHONY: vet
vet:
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...

.PHONY: lint
lint: deps-lint
	'$(LINT)' run ./...
	@for dir in $(MODULES); do \
		echo "linting $$dir"; \
		(cd "$$dir" && '$(LINT)' run --config '$(CURDIR)/.golangci.yml' ./...) || exit 1; \
	done

.PHONY: fmt-check
fmt-check:
	@files=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*' -not -path '*/node_modules/*')); \
	if [ -n "$$files" ]; then echo "not formatted, run make fmt:"; echo "$$files"; exit 1; fi

.PHONY: fmt
fmt: build deps-lint ## format Go code and Caddyfiles
	'$(LINT)' fmt
	@for f in $(CADDYFILES); do ./bin/caddy fmt --overwrite "$$f"; done

.PHONY: caddyfiles
# Those beside a go.mod need that module; its own tests validate them.
caddyfiles: build
	@for f in $(CADDYFILES); do \
		./bin/caddy fmt --diff "$$f" || { echo "$$f is not formatted, run make fmt"; exit 1; }; \
		if [ -e "$${f%/*}/go.mod" ]; then continue; fi; \
		out=$$(./bin/caddy validate --config "$$f" --adapter caddyfile 2>&1) || { echo "$$f is not valid:"; echo "$$out"; exit 1; }; \
	done >&2

.PHONY: clean
clean: ## remove what builds leave; the cache of make deps stays
	rm -rf bin dist
	go clean -testcache

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
