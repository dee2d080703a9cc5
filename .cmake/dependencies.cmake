# Finds what faiss_vlc links, for its build and for find_package(faiss_vlc). Sets
# FAISS_VLC_PRIVATE_LIBRARIES, which a program needs only together with the static library,
# FAISS_VLC_MISSING, those of them that were not found, FAISS_VLC_FAISS_VERSION, and FAISS_VLC_FAISS_SHARED
# and FAISS_VLC_FAISS_LINKABLE, whether FAISS is a shared library and whether there is one at all.

# FAISS's own package file names OpenMP's target without looking for it.
find_package(OpenMP REQUIRED COMPONENTS CXX)
# Another FAISS than the one that find_package finds: its headers, and its library together with what
# that needs (a list). The headers alone are enough for the Python package, which takes FAISS from Python.
set(FAISS_INCLUDE_DIR "$ENV{FAISS_INCLUDE_DIR}" CACHE PATH "Folder that holds faiss/Index.h")
set(FAISS_LIBRARY "$ENV{FAISS_LIBRARY}" CACHE STRING "FAISS's library and what it needs")
if(FAISS_INCLUDE_DIR)
    if(NOT TARGET faiss)
        if(FAISS_LIBRARY)
            set(faiss_needs ${FAISS_LIBRARY})
            list(POP_FRONT faiss_needs faiss_file)
            if(NOT EXISTS ${faiss_file})
                message(FATAL_ERROR "FAISS_LIBRARY: expected the path of FAISS's library, met ${faiss_file}")
            endif()
            add_library(faiss UNKNOWN IMPORTED)
            set_target_properties(faiss PROPERTIES IMPORTED_LOCATION ${faiss_file})
            target_link_libraries(faiss INTERFACE ${faiss_needs} OpenMP::OpenMP_CXX)
        else()
            add_library(faiss INTERFACE IMPORTED)
        endif()
        target_include_directories(faiss INTERFACE ${FAISS_INCLUDE_DIR})
    endif()
else()
    find_package(faiss REQUIRED)
endif()
get_target_property(faiss_type faiss TYPE)
set(FAISS_VLC_FAISS_SHARED OFF)
if(faiss_type STREQUAL "SHARED_LIBRARY" OR FAISS_LIBRARY MATCHES "^[^;]*[.]so[.0-9]*(;|$)")
    set(FAISS_VLC_FAISS_SHARED ON)
endif()
set(FAISS_VLC_FAISS_LINKABLE ON)
if(faiss_type STREQUAL "INTERFACE_LIBRARY")
    set(FAISS_VLC_FAISS_LINKABLE OFF)
endif()

# The classes of different FAISS versions differ, so what is built for one is refused by others.
get_target_property(faiss_include_dirs faiss INTERFACE_INCLUDE_DIRECTORIES)
find_path(faiss_index_dir faiss/Index.h PATHS ${faiss_include_dirs} NO_DEFAULT_PATH NO_CACHE REQUIRED)
file(STRINGS ${faiss_index_dir}/faiss/Index.h faiss_version REGEX "#define FAISS_VERSION_")
string(REGEX REPLACE "[^0-9]+([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+).*" "\\1.\\2.\\3"
    FAISS_VLC_FAISS_VERSION "${faiss_version}")

find_package(Threads QUIET)
find_package(OpenCL QUIET)
find_package(CLBlast QUIET)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(xxhash QUIET IMPORTED_TARGET libxxhash)
    pkg_check_modules(hdf5 QUIET IMPORTED_TARGET hdf5)
endif()
set(FAISS_VLC_PRIVATE_LIBRARIES OpenMP::OpenMP_CXX Threads::Threads OpenCL::OpenCL clblast
    PkgConfig::xxhash PkgConfig::hdf5)
set(FAISS_VLC_MISSING "")
foreach(library IN LISTS FAISS_VLC_PRIVATE_LIBRARIES)
    if(NOT TARGET ${library})
        list(APPEND FAISS_VLC_MISSING ${library})
    endif()
endforeach()
