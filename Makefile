# cauase: targets for users and developers. `make help` lists them.

GO     ?= go
BIN    := bin
VAR    ?= var
NETLOC ?= 127.0.0.1:8009

# Where make install puts things. Packagers stage them with DESTDIR.
PREFIX  ?= /usr/local
DESTDIR ?=

# The race detector needs a C compiler; everything else needs Go alone.
# SQLite in Go is C, translated by a machine. Nearly all that it works on is memory outside Go's heap, of
# which the detector knows nothing, however often it is asked. The arithmetic below Go's signatures, and what
# stretches passphrases, works on numbers that nobody else has, and takes several times as long when it is asked
# at each digit. Package testkit builds tools likewise.
UNWATCHED := -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false -gcflags=crypto/internal/fips140/bigmod=-race=false -gcflags=crypto/internal/fips140/nistec/...=-race=false -gcflags=crypto/internal/fips140/edwards25519/...=-race=false -gcflags=golang.org/x/crypto/pbkdf2=-race=false -gcflags=software.sslmate.com/src/go-pkcs12=-race=false -gcflags=crypto/pbkdf2=-race=false -gcflags=crypto/internal/fips140/pbkdf2=-race=false -gcflags=crypto/internal/fips140/hmac=-race=false -gcflags=crypto/internal/fips140/sha256=-race=false
CC_FOUND := $(shell command -v $${CC:-gcc} 2>/dev/null)
RACE     := $(if $(CC_FOUND),-race $(UNWATCHED),)
ifeq ($(CC_FOUND),)
export CGO_ENABLED = 0
endif

TOOLS := cauased:cauased cauase:cauase updater:cauase-updater probe:cauase-probe rerequest:cauase-rerequest keyid:cauase-key-id

# Pinned here rather than in go.mod: their dependencies are no business of who builds cauase.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FORBIDIGO   := github.com/ashanbrown/forbidigo/v2@v2.3.1

# House rules that a machine can keep: time comes from a clock, libraries return errors, numbers are
# read whole (Sscan takes 3abc for 3).
FORBIDDEN   := '^time\.(Now|Since|Until)$$' '^log\.(Fatal|Panic)' '^math/rand' '^fmt\.Sscan'

INTEROP_VENV ?= .cache/caucase
FUZZTIME     ?= 1m

.DEFAULT_GOAL := help
.PHONY: help build build-pkcs11 cross run test lint bench bench-load bench-peers bench-growth bench-profile fuzz flood soak crash-matrix released docs-test interop install uninstall clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Without a C compiler, whether there is one or not: what is shipped is the same everywhere, and needs no libraries.
build: ## build all tools into bin/, statically
	@mkdir -p $(BIN)
	@for tool in $(TOOLS); do \
		CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/$${tool#*:} ./$${tool%:*} || exit 1; \
	done

# The library of a token is a C library, so this one needs a C compiler, and the C library of the system on which it was built.
build-pkcs11: ## build all tools, and bin/cauased with support for PKCS #11 tokens
	@$(MAKE) --no-print-directory build
	CGO_ENABLED=1 $(GO) build -trimpath -tags pkcs11 -o $(BIN)/cauased ./cauased

# What runs on hosts. The daemon is for Linux.
CROSS := darwin/amd64 darwin/arm64 windows/amd64
HOSTS := cauase updater probe rerequest keyid

cross: ## build the tools of hosts for other systems, without keeping them
	@for target in $(CROSS); do \
		for tool in $(HOSTS); do \
			echo "$$target $$tool"; \
			CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -trimpath -o /dev/null ./$$tool || exit 1; \
		done; \
	done

run: build ## start a CA on loopback with its data in ./var
	@mkdir -p -m 0700 $(VAR)
	@exec $(BIN)/cauased --netloc $(NETLOC) \
		--db $(VAR)/cauase.sqlite --server-key $(VAR)/server.key.pem --cors-key-store $(VAR)/cors.key

# The packages whose tests take longest begin first, lest one of them is left to run alone at the end.
LONG := $(addprefix ./pkg/,endtoend fleet store/sqlstore cluster crash manage deployment updater)

# Some of them mostly wait, for timeouts, servers and disks: more run at once than there are processors,
# so that others compute meanwhile.
PACKAGES_AT_ONCE ?= $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2)

# A program under the race detector waits for a second before it ends, each time. The fleet's decades, which
# pass step by step, are simulated without it, in a third of the time; with it, their first years are. Allocations
# are counted without it, as it makes some of its own. What
# go test vets of each package make lint vets, with all else. What is built without the race detector is built as
# make build does, so that nothing is compiled in three ways.
test: export GORACE := atexit_sleep_ms=10 $(GORACE)
test: ## build and run the tests, with the race detector where there is a C compiler
	CGO_ENABLED=0 $(GO) build -trimpath ./...
	$(GO) test $(RACE) -vet=off -p $(PACKAGES_AT_ONCE) -timeout 40m $(LONG) ./...
	$(if $(RACE),CGO_ENABLED=0 $(GO) test -trimpath -vet=off -timeout 40m ./pkg/fleet/)
	$(if $(RACE),$(GO) test $(RACE) -vet=off -tags pkcs11 ./pkg/token/)
	$(if $(RACE),CGO_ENABLED=0 $(GO) test -trimpath -vet=off -run Allocations ./pkg/server/caucase/)

lint: ## gofmt, go vet, staticcheck, and the house rules
	@bad=$$(gofmt -l $$(git ls-files '*.go')) && test -z "$$bad" || { echo "gofmt: $$bad" >&2; exit 1; }
	$(GO) vet -tags interop ./...
	$(GO) run $(STATICCHECK) -tags interop ./...
	$(if $(CC_FOUND),$(GO) vet -tags pkcs11 ./pkg/token/ && $(GO) run $(STATICCHECK) -tags pkcs11 ./pkg/token/)
	$(GO) run $(FORBIDIGO) -set_exit_status -analyze_types -tests=false $(FORBIDDEN) -- ./...
	$(GO) mod tidy -diff

# What the load is to be like: go run ./bench -help lists it, docs/performance.md explains it.
BENCHFLAGS ?=

bench: ## run the benchmarks of the pieces, then put a load on whole daemons; takes an hour
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./bench $(BENCHFLAGS)

bench-load: ## put a load on whole daemons, with BENCHFLAGS
	$(GO) run ./bench $(BENCHFLAGS)

# Pinned, as figures are compared. A program in PATH comes first.
STEP_CA := github.com/smallstep/certificates/cmd/step-ca@v0.30.2
PEERS   := .cache/peers

bench-peers: $(if $(shell command -v step-ca),,$(PEERS)/step-ca) ## measure other authorities by turns with ours: step-ca, and caucase where CAUCASE_VENV says
	$(GO) run ./bench -rows 'issue|rsa' $(BENCHFLAGS)

bench-growth: ## measure what becomes of a daemon as its certificates grow in number, and draw it; takes an hour
	$(GO) run ./bench -rows growth -growth 10000,100000,1000000,5000000 -svg docs/performance.svg $(BENCHFLAGS)

bench-profile: ## profile renewals into .cache/profiles
	$(GO) run ./bench -rows profile -profile .cache/profiles $(BENCHFLAGS)

$(PEERS)/step-ca:
	@mkdir -p $(PEERS)
	CGO_ENABLED=0 GOBIN=$(abspath $(PEERS)) $(GO) install $(STEP_CA)

fuzz: ## run every fuzz target for FUZZTIME (1m)
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

flood: ## let crowds loose on a daemon, for long, and print how long users and others wait meanwhile
	CAUASE_FLOOD=long $(GO) test -count=1 -v -timeout 30m ./pkg/flood/

# Which tests, of targets that run long.
RUN ?= .

# How long TestSoak takes, and which of the loads: RUN=TestSoak for that alone.
SOAK ?= 30m

soak: ## put a mixed load on daemons for SOAK (30m) that are killed meanwhile and watched for growth; then the loads of many daemons on PostgreSQL, and millions of certificates
	CAUASE_SOAK=$(SOAK) CAUASE_REQUIRE_ALL=1 $(GO) test -count=1 -v -timeout 6h -run '$(RUN)' ./pkg/cluster/

# CRASH points of each story, or all; RUN selects stories, such as TestMatrix/sqlite/backup. Points that have passed with the
# same program are not tried again: a run that was interrupted goes on. All take some three hours of one processor.
CRASH ?= all

crash-matrix: ## have daemon and commands die, or calls of theirs fail, at each step that changes what lasts; takes hours, and goes on where it was interrupted
	CAUASE_CRASH=$(CRASH) CAUASE_CRASH_LEDGER=$(abspath .cache/crash-matrix) CAUASE_REQUIRE_ALL=1 $(GO) test -count=1 -v -timeout 24h -run '$(RUN)' ./pkg/crash/
	CAUASE_CRASH=all $(GO) test -count=1 -timeout 1h -run TestCrash ./pkg/updater/

RELEASED ?= .cache/released

released: ## let tools of released versions follow today's daemon over rollovers, and today's theirs; needs the history of git
	CAUASE_RELEASED=$(abspath $(RELEASED)) $(GO) test -count=1 -v -timeout 30m -run TestReleased ./pkg/endtoend/

docs-test: $(INTEROP_VENV)/.done ## run the commands of the README and the manual, with real servers, as make test does among others
	CAUCASE_VENV=$(abspath $(INTEROP_VENV)) CAUASE_REQUIRE_ALL=1 $(GO) test -count=1 -v -timeout 20m -run 'Tour|Page|Nginx|HAProxy|PostgreSQL|GoServer' ./pkg/deployment/

interop: build $(INTEROP_VENV)/.done ## test against the reference implementation (Python)
	CAUCASE_VENV=$(abspath $(INTEROP_VENV)) $(GO) test -count=1 -timeout 20m -tags interop ./pkg/interop/...
	CAUCASE_VENV=$(abspath $(INTEROP_VENV)) CAUASE_TEST_DB=postgres $(GO) test -count=1 -timeout 20m -tags interop \
		-skip 'Backup|Import|Export|KeyID|Rerequest|Updater' ./pkg/interop/...

$(INTEROP_VENV)/.done: testdata/interop/requirements.txt
	python3 -m venv $(INTEROP_VENV)
	$(INTEROP_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Manual pages and completions are written by the tools, which know their options best, so they
# have to run on the machine that installs them. Units name PREFIX as it will be, without DESTDIR.
UNITS := cauased.service cauase-updater.service cauase-updater@.service
into   = $(DESTDIR)$(PREFIX)

install: build ## install into PREFIX (/usr/local), below DESTDIR if that is given
	@set -e; for name in $(foreach tool,$(TOOLS),$(lastword $(subst :, ,$(tool)))); do \
		case $$name in cauased|cauase-updater) section=8;; *) section=1;; esac; \
		install -D -m 0755 $(BIN)/$$name $(into)/bin/$$name; \
		write() { "$(BIN)/$$name" "$$1" >$(BIN)/.document && install -D -m 0644 $(BIN)/.document "$$2"; }; \
		write --generate-man $(into)/share/man/man$$section/$$name.$$section; \
		write --generate-completion=bash $(into)/share/bash-completion/completions/$$name; \
		write --generate-completion=zsh $(into)/share/zsh/site-functions/_$$name; \
		write --generate-completion=fish $(into)/share/fish/vendor_completions.d/$$name.fish; \
	done; rm -f $(BIN)/.document
	@set -e; for unit in $(UNITS); do \
		sed 's|/usr/local/|$(PREFIX)/|' deploy/systemd/$$unit >$(BIN)/.unit; \
		install -D -m 0644 $(BIN)/.unit $(into)/lib/systemd/system/$$unit; \
	done; rm -f $(BIN)/.unit
	@install -D -m 0644 deploy/systemd/cauase.sysusers $(into)/lib/sysusers.d/cauase.conf
	@install -D -m 0644 deploy/systemd/cauased.env $(into)/share/doc/cauase/examples/cauased.env
	@install -D -m 0644 deploy/prometheus/cauase.rules.yml $(into)/share/doc/cauase/examples/cauase.rules.yml

uninstall: ## remove what make install has installed; data and configuration stay
	@for name in $(foreach tool,$(TOOLS),$(lastword $(subst :, ,$(tool)))); do \
		rm -f $(into)/bin/$$name $(into)/share/man/man[18]/$$name.[18] \
			$(into)/share/bash-completion/completions/$$name $(into)/share/zsh/site-functions/_$$name \
			$(into)/share/fish/vendor_completions.d/$$name.fish; \
	done
	@rm -f $(addprefix $(into)/lib/systemd/system/,$(UNITS)) $(into)/lib/sysusers.d/cauase.conf
	@rm -rf $(into)/share/doc/cauase

clean: ## remove what was built; the CA in ./var stays
	rm -rf $(BIN)
