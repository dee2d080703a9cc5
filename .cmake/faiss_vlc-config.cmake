# find_package(faiss_vlc [COMPONENTS static]) offers
#   faiss_vlc::faiss_vlc  the shared library; a program that links it needs FAISS alone beside it
#   faiss_vlc::static     the static library, if what it links (OpenCL, CLBlast, ...) is found
#   faiss_vlc::auto       the static library for programs that call faiss::index_factory, read_index,
#                         write_index and clone_index: those know VLC then
# faiss_vlc_FOUND is false when the component static is asked for and something is missing.

include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/faiss_vlc-shared-targets.cmake)
set(faiss_vlc_shared_FOUND TRUE)
if(NOT FAISS_VLC_MISSING)
    include(${CMAKE_CURRENT_LIST_DIR}/faiss_vlc-static-targets.cmake)
    set(faiss_vlc_static_FOUND TRUE)
endif()
foreach(component IN LISTS faiss_vlc_FIND_COMPONENTS)
    if(faiss_vlc_FIND_REQUIRED_${component} AND NOT faiss_vlc_${component}_FOUND)
        set(faiss_vlc_FOUND FALSE)
        set(faiss_vlc_NOT_FOUND_MESSAGE
            "faiss_vlc has no component ${component} here; not found: ${FAISS_VLC_MISSING}")
    endif()
endforeach()
