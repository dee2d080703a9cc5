# Compares FAISS_VLC_FAISS_VERSION, that of the headers, with the faiss package of Python3_EXECUTABLE, which the
# result is for, and stops rather than build what cannot be imported. Included by pip's build; tests run it as a
# script.

# -E: pip hides the environment's packages from builds by way of PYTHONPATH.
execute_process(
    COMMAND ${Python3_EXECUTABLE} -E -c "import faiss; print(faiss.__version__, faiss.__file__, end='')"
    OUTPUT_VARIABLE installed RESULT_VARIABLE result ERROR_QUIET)
string(REGEX MATCH "^([^ ]*) (.*)$" matched "${installed}")
set(version "${CMAKE_MATCH_1}")
set(file "${CMAKE_MATCH_2}")
if(NOT result EQUAL 0)
    message(STATUS "${Python3_EXECUTABLE} has no faiss to compare with; building for FAISS ${FAISS_VLC_FAISS_VERSION}")
elseif(NOT version STREQUAL FAISS_VLC_FAISS_VERSION)
    set(difference "The headers are those of FAISS ${FAISS_VLC_FAISS_VERSION}, but ${file} is FAISS ${version}.")
    if(FAISS_INCLUDE_DIR) # asked for: another machine's, perhaps
        message(WARNING "${difference} The result cannot be imported here.")
        return()
    endif()
    set(hidden "")
    if(version VERSION_LESS 1.13)
        set(hidden "If that is PyPI's faiss-cpu, it will not do: before 1.13 it keeps its functions to itself. ")
    endif()
    message(FATAL_ERROR "${difference} FAISS's sources of the tag v${version} hold the headers that are needed:\n"
        "    FAISS_INCLUDE_DIR=<their folder, which holds faiss/Index.h> pip install <the sources of faiss_vlc>\n"
        "${hidden}To build for FAISS ${FAISS_VLC_FAISS_VERSION} all the same, name its headers there; for Debian's, "
        "/usr/include.")
endif()
