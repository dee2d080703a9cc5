# Finds what faiss_vlc links, for its build and for find_package(faiss_vlc). Sets
# FAISS_VLC_PRIVATE_LIBRARIES, which a program needs only together with the static library, and
# FAISS_VLC_MISSING, those of them that were not found.

# FAISS's own package file names OpenMP's target without looking for it.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(faiss REQUIRED)

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
