# The levels of kernels/ that are compiled for one instruction set: name, which is that of the folder,
# then the processors that have it, and the compiler's flags. Their files are chosen at run time
# (simd.cpp). Nothing that other files instantiate too may be in them (no containers, no Eigen): the
# linker keeps one copy of each template and must not keep theirs. tests/kernels/isa_symbols_test.sh
# checks that.
#
# For each it sets <name>_sources and <name>_flags; kernel_levels lists the names, foreign_sources what this
# processor lacks, and portable_sources what needs no flags.

set(kernel_levels "")
set(foreign_sources "")
file(GLOB portable_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/portable/*.cpp)

macro(kernel_level name processors)
    list(APPEND kernel_levels ${name})
    set(${name}_flags ${ARGN})
    file(GLOB ${name}_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/${name}/*.cpp)
    set_property(SOURCE ${${name}_sources} APPEND PROPERTY COMPILE_OPTIONS ${ARGN})
    if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "${processors}")
        list(APPEND foreign_sources ${${name}_sources})
    endif()
endmacro()

kernel_level(avx2 "x86_64|AMD64" -mavx2 -mfma -mf16c)
kernel_level(avx512 "x86_64|AMD64" -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
kernel_level(avx512_vbmi "x86_64|AMD64" ${avx512_flags} -mavx512vbmi)
# What its assembly needs of the compiler's assembler (binutils 2.34, Clang 12), and Linux, which is
# asked for permission.
set(amx_flags ${avx512_vbmi_flags})
set(amx_instructions "tileloadd (%0,%1,1), %%tmm4; tdpbssd %%tmm5, %%tmm4, %%tmm0")
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    list(APPEND amx_flags -mamx-tile -mamx-int8)
endif()
include(CheckCXXSourceCompiles)
string(JOIN " " CMAKE_REQUIRED_FLAGS ${amx_flags})
check_cxx_source_compiles("
#if !defined(__linux__) || !defined(__x86_64__)
#error
#endif
int main(int, char** a) { __asm__ volatile(\"${amx_instructions}\" : : \"r\"(a), \"r\"(64l)); }
" FAISS_VLC_HAS_AMX)
unset(CMAKE_REQUIRED_FLAGS)
kernel_level(amx "x86_64|AMD64" ${amx_flags})
if(FAISS_VLC_HAS_AMX)
    set_property(SOURCE ${CMAKE_CURRENT_LIST_DIR}/simd.cpp APPEND PROPERTY
        COMPILE_DEFINITIONS FAISS_VLC_AMX)
else()
    list(APPEND foreign_sources ${amx_sources})
endif()

kernel_level(neon "aarch64|arm64" -march=armv8.2-a+dotprod)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns of the undefined registers in its own intrinsics.
    set_property(SOURCE ${avx512_sources} ${avx512_vbmi_sources} ${amx_sources} APPEND PROPERTY
        COMPILE_OPTIONS -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
set_source_files_properties(${foreign_sources} PROPERTIES HEADER_FILE_ONLY ON)
