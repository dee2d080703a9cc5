#pragma once

// The functions of FAISS that VLC stands in for; auto.cmake has their symbols.

#include <cstdio>

#include <faiss/Index.h>
#include <faiss/impl/io.h>

#include <auto_symbols.h>
#include <faiss_vlc/faiss_version.h>

#if FAISS_VLC_HAS_OWN_INVLISTS
#define FACTORY_REST , bool own_invlists
#define FACTORY_ARGUMENT , own_invlists
#define OWN_INVLISTS own_invlists
#else
#define FACTORY_REST
#define FACTORY_ARGUMENT
#define OWN_INVLISTS true
#endif
#if FAISS_VLC_HAS_WRITE_FLAGS
#define WRITE_REST , int io_flags
#define WRITE_ARGUMENT , io_flags
#else
#define WRITE_REST
#define WRITE_ARGUMENT
#endif

#define FAISS_VLC_EACH_PLUGGED(PLUGGED)                                                        \
    PLUGGED(index_factory, faiss::Index*, int d, const char* description,                      \
            faiss::MetricType metric FACTORY_REST)                                             \
    PLUGGED(read_path, faiss::Index*, const char* path, int io_flags)                          \
    PLUGGED(read_file, faiss::Index*, FILE* file, int io_flags)                                \
    PLUGGED(read_reader, faiss::Index*, faiss::IOReader* reader, int io_flags)                 \
    PLUGGED(write_path, void, const faiss::Index* index, const char* path WRITE_REST)          \
    PLUGGED(write_file, void, const faiss::Index* index, FILE* file WRITE_REST)                \
    PLUGGED(write_writer, void, const faiss::Index* index, faiss::IOWriter* writer WRITE_REST) \
    PLUGGED(clone_index, faiss::Index*, const faiss::Index* index)
