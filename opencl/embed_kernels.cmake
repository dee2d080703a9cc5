# Writes a C++ file that defines faiss_vlc::kernel_source over the given OpenCL C files:
#
#   cmake -DOUTPUT=kernel_source.cpp -P embed_kernels.cmake a.cl b.cl ...
#   cmake -DOUTPUT=kernel_source.cpp "-DKERNELS=a.cl;b.cl" -P embed_kernels.cmake
#
# Files become arrays of numbers: string literals have a length limit, and numbers need no escapes.

if(NOT OUTPUT)
    message(FATAL_ERROR "embed_kernels.cmake: OUTPUT is not set")
endif()
set(files ${KERNELS})
set(after_script FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(index RANGE ${last})
    if(after_script)
        list(APPEND files "${CMAKE_ARGV${index}}")
    elseif("${CMAKE_ARGV${index}}" MATCHES "embed_kernels\\.cmake$")
        set(after_script TRUE)
    endif()
endforeach()
if(NOT files)
    message(FATAL_ERROR "embed_kernels.cmake: no .cl files given")
endif()

set(arrays "")
set(table "")
foreach(file IN LISTS files)
    get_filename_component(stem "${file}" NAME_WE)
    string(MAKE_C_IDENTIFIER "${stem}" name)
    file(READ "${file}" hex HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," numbers "${hex}")
    string(APPEND arrays "const unsigned char k_${name}[] = {\n${numbers}0x00};\n\n")
    string(APPEND table "    {\"${stem}\", k_${name}},\n")
endforeach()

set(text "// Made by embed_kernels.cmake from opencl/*.cl.
#include <opencl/kernel_source.h>

#include <cstring>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {
namespace {

${arrays}struct Entry {
    const char* stem;
    const unsigned char* text;
};

const Entry kEntries[] = {
${table}};

} // namespace

const char* kernel_source(const char* stem) {
    for (const Entry& entry : kEntries) {
        if (std::strcmp(entry.stem, stem) == 0) {
            return reinterpret_cast<const char*>(entry.text);
        }
    }
    fail(\"no OpenCL source named '%s' was built in\", stem);
}

} // namespace faiss_vlc
")
file(WRITE "${OUTPUT}" "${text}")
