# Front door: each target is a few commands that can also be typed by hand. `make help` lists them.

# One job per core, but no more than the free memory holds at 1.5 GB each.
JOBS ?= $(shell awk -v cores="$$(nproc)" '/^MemAvailable/ { jobs = int($$2 / 1500000) } \
	END { if (jobs > cores) jobs = cores; print jobs < 1 ? 1 : jobs }' /proc/meminfo)
export CMAKE_BUILD_PARALLEL_LEVEL = $(JOBS)
export CTEST_PARALLEL_LEVEL = $(JOBS)
PREFIX ?= /usr/local

# The make that CMake runs takes itself for a part of this one and would name every folder.
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

# Builds the targets that are named, or all.
BUILD = cmake --preset release -DFAISS_VLC_TESTS=ON && cmake --build --preset release
# TESTS="save_test lists_test" builds and runs those alone.
EMPTY :=
CHOSEN = $(if $(TESTS),-R '^($(subst $(EMPTY) ,|,$(strip $(TESTS))))$$')
COUNTED = assign_bench reduce_bench update_bench encode_bench rank_bench scan_bench words_bench

SOURCES = git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cl'

.PHONY: help deps deps-build build test demo bench bench-check debug asan tsan clients crash soak fuzz install format \
	format-check tidy clean

help: ## list the targets
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24

deps: ## install the Debian packages that are missing, for building, tests and benchmarks (.ci/packages)
	@.ci/install python build test bench

deps-build:
	@.ci/install python build

build: deps-build ## the library, the command and the Python package, in build/release
	cmake --preset release -DFAISS_VLC_TESTS=OFF
	cmake --build --preset release --target product

test: deps ## build and run every test (TESTS names some)
	$(BUILD) $(if $(TESTS),--target $(TESTS))
	ctest --preset release $(CHOSEN)

demo: deps ## compress, search and compare with IVFPQ on the sample data
	$(BUILD) --target vlc demo_ivfpq
	benchmarks/demo.sh

bench: deps ## compare with FAISS, hnswlib, ScaNN and SVS from PyPI on the sample data (BENCH: options of bench.py)
	$(BUILD) --target vlc bench_worker
	benchmarks/bench.py $(BENCH)

bench-check: deps ## count the hot stages' instructions (callgrind) and compare with the committed figures
	$(BUILD) --target $(COUNTED)
	benchmarks/check_instructions.py

debug asan tsan: deps ## the tests in a debug build, under ASan and UBSan, under TSan (TESTS names some)
	cmake --preset $@
	cmake --build --preset $@ $(if $(TESTS),--target $(TESTS))
	ctest --preset $@ $(CHOSEN)

clients: deps ## try programs from PyPI that use FAISS, 7 GB of them (CLIENTS=quick: without PyTorch; or names)
	tests/clients/run $(or $(CLIENTS),all)

crash: deps ## kill 1000 processes (CRASH_SAVES) while they save
	$(BUILD) --target crash_test
	VLC_CRASH_SAVES=$(or $(CRASH_SAVES),1000) build/release/tests/crash_test

soak: deps ## twice ten minutes (SOAK_SECONDS) of random changes against a plain model
	$(BUILD) --target soak_test tree_soak_test
	VLC_SOAK_SECONDS=$(or $(SOAK_SECONDS),600) build/release/tests/soak_test
	VLC_SOAK_SECONDS=$(or $(SOAK_SECONDS),600) build/release/tests/tree_soak_test

fuzz: deps ## each libFuzzer target for a minute (FUZZ_SECONDS); FUZZ_TARGETS names some
	cmake --preset fuzz
	cmake --build --preset fuzz
	tests/fuzz/run.sh build/fuzz $(or $(FUZZ_SECONDS),60) $(FUZZ_TARGETS)

install: build ## install under PREFIX (/usr/local)
	cmake --install build/release --prefix '$(PREFIX)'

format: deps ## clang-format every source
	$(SOURCES) | xargs clang-format -i

format-check: deps ## fail where clang-format would change a source
	$(SOURCES) | xargs clang-format --dry-run -Werror

tidy: deps ## clang-tidy every source (TIDY: a pattern of paths, such as ^faiss_vlc/storage/)
	cmake --preset release
	$(SOURCES) | grep '\.cpp$$' | grep -vE '^tests/(interop/consumer|fuzz)/|/neon/' | grep -E '$(TIDY)' | \
		xargs -P $(JOBS) -n 1 clang-tidy -p build/release --quiet --warnings-as-errors='*'

clean: ## remove every build
	rm -rf build
