#!/usr/bin/env bash
# The demo: real SIFT descriptors through the command line, as a user would, with FAISS's IVFPQ of the
# same bytes per vector and the same number of lists beside it. `make demo` builds what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${VLC_BUILD:-build/release}
data=tests/data/sift20k
lists=256
nprobe=1,4,16,64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Neither library's threads may spin while the other's work; and compiled kernels stay with the build.
export OMP_WAIT_POLICY=passive POCL_CACHE_DIR=${POCL_CACHE_DIR:-$build/pocl_cache}
mkdir -p "$POCL_CACHE_DIR"

echo "20,000 SIFT descriptors of 128 dimensions, 500 queries with their exact neighbours"
echo
echo "The very first training compiles the OpenCL kernels:"
"$build/vlc" index --emb $data/base.npy --m $lists --bytes 32 --out "$work/cold.vlc" | grep '^training'
echo
echo "One of the runs below, iteration by iteration:"
"$build/vlc" index --emb $data/base.npy --m $lists --bytes 32 --out "$work/shown.vlc" --verbose |
    grep '^iteration'
for bytes in 16 32; do
    # alternating, twice each: IVFPQ trains for a while
    for run in 1 2; do
        "$build/vlc" index --emb $data/base.npy --m $lists --bytes $bytes --out "$work/$bytes.vlc" \
            --json >"$work/index-$bytes-$run.json"
        "$build/vlc" eval --idx "$work/$bytes.vlc" --queries $data/query.npy --gt $data/gt.npy --k 10 \
            --nprobe $nprobe --json >"$work/eval-$bytes-$run.json"
        "$build/benchmarks/demo_ivfpq" --emb $data/base.npy --queries $data/query.npy \
            --gt $data/gt.npy --m $lists --bytes $bytes --nprobe $nprobe --out "$work/$bytes.faiss" \
            >"$work/ivfpq-$bytes-$run.json"
    done
done
echo
/usr/bin/env python3 benchmarks/demo_table.py "$work" 16 32
cat <<'END'

What next?
  build/release/vlc --help    the command that made the files above; it takes your vectors, too
  make build                  the Python package and the C++ libraries
  README.md                   ten lines of Python, C++, and results on larger data
END
