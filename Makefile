# The commands of the README. CI calls the same targets.
#
#   make run     build and play the demonstration
#   make test    install what the tests need, and pass them
#   make lint    formatting, lints, licences
#   make bench   print figures beside their peers
#   make prove   break everything around the gate on purpose, and see that nothing runs unallowed
#   make bench-scale  a log of millions of decisions: memory, speed at its end, restart (minutes, gigabytes)
#   make conformance  the published suites of the policy languages
#   make fuzz    each parser and evaluator for a minute
#   make sim     the long simulation (minutes)

CARGO  ?= cargo
PYTHON ?= python3
SEEDS  ?= 20000
DECISIONS ?= 2000000
SESSIONS  ?= 1000000
AGENTS    ?= 100000
DENY_VERSION = 0.20.2

# The test runner is used when it is there; plain `cargo test` runs the same tests.
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
RUN_TESTS = $(CARGO) nextest run --no-fail-fast
else
RUN_TESTS = $(CARGO) test --no-fail-fast
endif

NODE := $(shell command -v node 2>/dev/null)
NPM  := $(shell command -v npm 2>/dev/null)
PY   := $(shell command -v $(PYTHON) 2>/dev/null)

.PHONY: run test lint bench prove bench-scale conformance fuzz sim ci demo-server interop-env test-rust test-docs test-interop fmt clean

run: demo-server
	$(CARGO) run --release --quiet --bin callgate -- demo

# The official MCP filesystem server, from its lock file.
demo-server:
ifdef NPM
	@test -d examples/demo/node_modules/@modelcontextprotocol/server-filesystem \
	  || npm ci --prefix examples/demo --ignore-scripts --no-audit --no-fund --loglevel=error
else
	@echo "node and npm are not installed: the demonstration uses the small server in this tree" >&2
endif

test: demo-server interop-env test-rust test-docs test-interop

# Among these: the store's simulation, and deliberate faults (a skipped sync, an early answer, …) that it must find.
test-rust:
	CALLGATE_TEST_MCP_DIR="$(CURDIR)/examples/demo" CALLGATE_TEST_MCP_PYTHON="$(CURDIR)/.venv/bin/python" \
	  $(RUN_TESTS) --workspace

test-docs:
	$(CARGO) test --doc --workspace --quiet

interop-env:
ifdef PY
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
else
	@echo "python3 is not installed: receipts are not checked with securesystemslib" >&2
endif

# Receipts verified by programs that are not ours.
test-interop: interop-env
	sh tests/interop/run.sh "$(CARGO)"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --quiet -- -D warnings
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --debug --quiet --version $(DENY_VERSION)
	$(CARGO) deny --log-level error check licenses bans sources

# One part alone: make bench PART=decide (or cedar, rego, history, limits, simulate, durable, approvals, release, mcp). OPA=path names the opa that is asked
# beside ours.
bench: demo-server
	$(CARGO) build --release --quiet --package callgate --package callgate-bench
	./target/release/callgate-bench $(PART)

# Very many sessions, with figures for docs/performance.md. About 2.2 KB of disk for each receipt, in this folder while it
# runs: 6 GB as it stands here, 30 GB for make bench-scale DECISIONS=10000000.
bench-scale:
	$(CARGO) build --release --quiet --package callgate-bench
	./target/release/callgate-bench scale $(DECISIONS) $(SESSIONS) $(AGENTS)

# The published suites of the policy languages: make conformance SUITES=../shared/conformance [PART=cel]; and the
# same authorization in each language on recorded sessions: make conformance CORPORA=../shared/corpora PART=languages.
# Nothing of them is in this tree; without the folder it says what it skipped.
conformance:
	$(CARGO) run --quiet --package callgate-conformance -- $(PART) --suites "$(SUITES)" --corpora "$(CORPORA)" $(if $(FAILURES),--failures)

# libFuzzer on the stable compiler; TARGETS="cel rego" picks some, SECONDS_EACH=600 runs longer.
fuzz:
	CARGO="$(CARGO)" ./fuzz/run.sh

# A sample of it is part of `make test`.
prove:
	$(CARGO) run --release --quiet --bin callgate -- prove
	$(CARGO) run --release --quiet --bin callgate -- prove --self-test

sim:
	CALLGATE_SIM_SEEDS=$(SEEDS) $(RUN_TESTS) --release --package callgate-store --test simulation

ci: lint test

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
	rm -rf .venv examples/demo/node_modules
