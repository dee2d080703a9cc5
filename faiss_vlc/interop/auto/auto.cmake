# faiss_vlc::auto      a program that links it, and calls nothing but FAISS, understands VLC
# faiss_vlc_preload    the same for programs that exist already and use a shared libfaiss: LD_PRELOAD
#
# Both stand in for a few functions, see auto/plugged.h, whose symbols are named here: ours and FAISS's. FAISS's parameters have changed.
set(rest_of_factory "")
set(rest_of_write "")
if(FAISS_VLC_FAISS_VERSION VERSION_GREATER_EQUAL 1.12)
    set(rest_of_factory b)
endif()
if(FAISS_VLC_FAISS_VERSION VERSION_GREATER_EQUAL 1.9)
    set(rest_of_write i)
endif()
set(plugged
    index_factory _ZN5faiss13index_factoryEiPKcNS_10MetricTypeE${rest_of_factory}
    read_path     _ZN5faiss10read_indexEPKci
    read_file     _ZN5faiss10read_indexEP8_IO_FILEi
    read_reader   _ZN5faiss10read_indexEPNS_8IOReaderEi
    write_path    _ZN5faiss11write_indexEPKNS_5IndexEPKc${rest_of_write}
    write_file    _ZN5faiss11write_indexEPKNS_5IndexEP8_IO_FILE${rest_of_write}
    write_writer  _ZN5faiss11write_indexEPKNS_5IndexEPNS_8IOWriterE${rest_of_write}
    clone_index   _ZN5faiss11clone_indexEPKNS_5IndexE)
set(names "")
set(wraps "")
while(plugged)
    list(POP_FRONT plugged name symbol)
    string(APPEND names "#define FAISS_VLC_SYMBOL_${name} \"${symbol}\"\n")
    list(APPEND wraps LINKER:--wrap=${symbol})
endwhile()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/auto/auto_symbols.h CONTENT "${names}" @ONLY)

add_library(faiss_vlc_auto STATIC faiss_vlc/interop/auto/plug.cpp)
add_library(faiss_vlc::auto ALIAS faiss_vlc_auto)
set_target_properties(faiss_vlc_auto PROPERTIES EXPORT_NAME auto)
target_link_libraries(faiss_vlc_auto PUBLIC faiss_vlc_static)
target_link_options(faiss_vlc_auto INTERFACE ${wraps})

# What is preloaded needs nothing; FAISS's symbols are those of the libfaiss that the program loads.
add_library(faiss_vlc_preload MODULE faiss_vlc/interop/auto/preload.cpp faiss_vlc/lib/faiss_version.cpp)
target_link_libraries(faiss_vlc_preload PRIVATE ${CMAKE_DL_LIBS})
add_library(faiss_vlc_plug MODULE faiss_vlc/interop/auto/plug.cpp $<TARGET_OBJECTS:faiss_vlc_objects>)
target_compile_definitions(faiss_vlc_plug PRIVATE FAISS_VLC_PRELOAD)
target_link_libraries(faiss_vlc_plug PRIVATE ${FAISS_VLC_PRIVATE_LIBRARIES})
add_dependencies(faiss_vlc_preload faiss_vlc_plug)
foreach(library faiss_vlc_preload faiss_vlc_plug)
    target_include_directories(${library} PRIVATE
        $<TARGET_PROPERTY:faiss,INTERFACE_INCLUDE_DIRECTORIES>)
endforeach()

foreach(library faiss_vlc_auto faiss_vlc_preload faiss_vlc_plug)
    target_compile_options(${library} PRIVATE -Wall -Wextra)
    target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/auto)
endforeach()
