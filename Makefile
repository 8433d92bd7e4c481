# What a newcomer and a contributor type. `make` alone lists it. Everything else is cargo and scripts/fetch.py.

.POSIX:
.SUFFIXES:
.PHONY: help quickstart test check format prerequisites fetch build-tests verify-tasks format-check lint docs

CARGO = cargo
PYTHON = python3
PROGRAM = target/release/rltrain
MODEL = .deps/models/SmolLM2-135M-Instruct
GGUF = $(MODEL).Q4_1.gguf
TASKS = recipes/tasks/python-basics

# The fewest flags that keep all stages on the same build artefacts: one profile, one lock file, no RUSTFLAGS of ours.
BUILD = --release --locked

help:
	@echo 'make quickstart   fetch, build, and train a small code model with recipes/quickstart.toml'
	@echo 'make test         all tests'
	@echo 'make check        what a pull request must pass: format, clippy, docs, all tests'
	@echo 'make format       format the source'
	@echo 'make fetch        only fetch libtorch, the Python sandbox and the base model into .deps/'

# Each step says what it does, does nothing if it is done already, and goes on where it was interrupted.
quickstart: prerequisites fetch
	@echo 'quickstart: building $(PROGRAM)'
	$(CARGO) build $(BUILD)
	@$(MAKE) --no-print-directory $(MODEL)/config.json verify-tasks
	$(PROGRAM) recipes/quickstart.toml

test: prerequisites fetch build-tests
	@$(MAKE) --no-print-directory $(MODEL)/config.json verify-tasks
	INSTA_UPDATE=no $(CARGO) test $(BUILD) --workspace

check: prerequisites format-check fetch lint docs test

format:
	$(CARGO) fmt --all

fetch: prerequisites
	@$(PYTHON) scripts/fetch.py

# Compiles every test and, because the integration tests start it, the program.
build-tests: fetch
	$(CARGO) test $(BUILD) --workspace --no-run

format-check:
	$(CARGO) fmt --all --check

lint: fetch
	$(CARGO) clippy $(BUILD) --workspace --all-targets -- --deny warnings

docs: fetch
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc $(BUILD) --workspace --lib --no-deps

# The base model as a Hugging Face folder. The import writes config.json last, so that file says it is complete.
$(MODEL)/config.json:
	@echo 'model: importing $(GGUF)'
	$(PROGRAM) import $(GGUF) $(MODEL)

# Also the first use of the sandbox, which is compiled for the machine then and cached.
verify-tasks:
	@echo 'tasks: running every reference solution and wrong programs (the first time, the sandbox is compiled: two minutes or more)'
	$(PROGRAM) tasks verify $(TASKS)/train.jsonl $(TASKS)/heldout.jsonl

prerequisites:
	@sh scripts/prerequisites.sh $(CARGO) $(PYTHON)
