# add_project_test(<name> <label> <command>...) for tests and benchmarks; labels are unit, opencl,
# format, python and bench.

# OpenMP's threads must not spin while they wait, as tests run side by side. What PoCL compiles is
# kept with the build, not in the user's home.
set(test_environment
    OMP_WAIT_POLICY=passive
    POCL_CACHE_DIR=${PROJECT_BINARY_DIR}/pocl_cache
    VLC_CLI=${PROJECT_BINARY_DIR}/vlc
    VLC_TEST_DATA=${PROJECT_SOURCE_DIR}/tests/data)
set(test_timeout 300)
if(FAISS_VLC_SANITIZE)
    # GCC 12's stack for use-after-return is aligned to 32 bytes, where AVX-512 needs 64. PoCL's LLVM
    # puts a signal stack of its own in the place of the sanitizer's. A small quarantine leaves tests
    # of memory something to measure.
    # ThreadSanitizer learns from OpenMP's runtime itself how its threads wait for each other, if
    # it disregards what code that is not instrumented (that runtime, PoCL, OpenBLAS) does.
    set(suppressions ${PROJECT_SOURCE_DIR}/tests/sanitizer_suppressions)
    list(APPEND test_environment
        ASAN_OPTIONS=detect_stack_use_after_return=0:strict_string_checks=1:use_sigaltstack=0:quarantine_size_mb=8
        LSAN_OPTIONS=suppressions=${suppressions}/lsan.txt:print_suppressions=0
        UBSAN_OPTIONS=print_stacktrace=1
        TSAN_OPTIONS=suppressions=${suppressions}/tsan.txt:ignore_noninstrumented_modules=1)
    set(test_timeout 1500)
endif()

function(add_project_test name label)
    add_test(NAME ${name} COMMAND ${ARGN})
    set_tests_properties(${name} PROPERTIES
        LABELS ${label} TIMEOUT ${test_timeout} ENVIRONMENT "${test_environment}")
endfunction()
