#!/bin/bash
# The NEON loops, compiled for 64-bit ARM and run in QEMU against the portable ones:
#
#   neon.sh <aarch64 g++> <qemu-aarch64> <folder of FAISS's headers> <googletest's sources> FLAG... SOURCE...
#
# with the flags of faiss_vlc/kernels/levels.cmake and the files of the two levels.
set -eu
compiler=$1 qemu=$2 faiss=$3 googletest=$4
shift 4
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# FAISS itself is not there for that processor; of it only this is needed.
cat >"$work/exception.cpp" <<'END'
#include <faiss/impl/FaissException.h>
namespace faiss {
FaissException::FaissException(const std::string& m) : msg(m) {}
const char* FaissException::what() const noexcept { return msg.c_str(); }
}
END
sources=("$work/exception.cpp")
for stem in lib/error kernels/simd kernels/scan_codes codec/codec codec/estimator model/codebook \
    train/stages/assign; do
    sources+=("$root/faiss_vlc/$stem.cpp")
done
"$compiler" -std=c++17 -O2 -ffp-contract=off -static -I"$root" \
    -idirafter "$faiss" -I"$googletest/include" -I"$googletest" -DVLC_TEST_DATA='""' -DVLC_CLI='""' \
    "$@" "${sources[@]}" "$root/tests/kernels/"{scan,words,nearest}_test.cpp \
    "$googletest/src/gtest-all.cc" "$googletest/src/gtest_main.cc" -o "$work/neon_test"
# The test that is left out starts itself again, which QEMU's user mode can't.
"$qemu" "$work/neon_test" --gtest_filter=-Levels.EnvironmentChooses >"$work/log" || {
    cat "$work/log"
    exit 1
}
VLC_SIMD=neon "$qemu" "$work/neon_test" --gtest_also_run_disabled_tests \
    --gtest_filter=LevelsChild.DISABLED_Name >"$work/log"
grep -q neon "$work/log"
