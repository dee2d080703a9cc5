// IndexVLC for Python, as an extension of the faiss module that is installed: base classes come from
// there, and with them every method that IndexVLC inherits or overrides (calls are virtual). Their
// wrappers release the GIL, as those made here do.

%module(package="faiss_vlc") swigvlc

%{
#include <cxxabi.h>

#include <cstdlib>
#include <algorithm>
#include <functional>
#include <string>
#include <typeinfo>
#include <vector>

#include <faiss/IndexIVFFlat.h>
#include <faiss/impl/FaissAssert.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/clone.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/model/parameter_table.h>
#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train.h>
#include <faiss_vlc/index/devices.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/storage/save.h>

#include "layout.h"
%}

// FAISS's headers are read for their class names only; what SWIG does not understand there is
// FAISS's business.
#pragma SWIG nowarn=302,305,312,319,325,341,362,389,401,403,509,512,516

%include <stdint.i>
%include <std_string.i>
typedef uint64_t size_t;
#define FAISS_API
#define FAISS_DEPRECATED(msg)
#define __restrict

%import(module="faiss") <faiss/MetricType.h>
%import(module="faiss") <faiss/Index.h>
%import(module="faiss") <faiss/impl/io.h>
%import(module="faiss") <faiss/invlists/DirectMap.h>
%import(module="faiss") <faiss/IndexIVF.h>
%import(module="faiss") <faiss/IndexIVFFlat.h>

%exception {
    Py_BEGIN_ALLOW_THREADS
    try {
        $action
    } catch (const std::bad_alloc&) {
        PyEval_RestoreThread(_save);
        PyErr_SetString(PyExc_MemoryError, "std::bad_alloc");
        SWIG_fail;
    } catch (const std::exception& error) {
        PyEval_RestoreThread(_save);
        if (!PyErr_Occurred()) { // KeyboardInterrupt, where training was interrupted
            PyErr_SetString(PyExc_RuntimeError, error.what());
        }
        SWIG_fail;
    }
    Py_END_ALLOW_THREADS
}

// An index that is returned gets the Python class of what it really is, ours and every one that the
// faiss module has: SWIG's table of types is common to both modules and goes by C++ names.
%{
static swig_type_info* pointer_to(const std::type_info& type) {
    std::string name;
    if (char* plain = abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr)) {
        for (const char* c = plain; *c; c++) { // SWIG writes A< B >
            name += *c == '<' ? "< " : *c == '>' ? " >" : std::string(1, *c);
        }
        std::free(plain);
    }
    return SWIG_TypeQuery((name + " *").c_str());
}

static PyObject* index_object(faiss::Index* index, int flags) {
    if (!index) {
        Py_RETURN_NONE;
    }
    swig_type_info* type = pointer_to(typeid(*index));
    if (type && type->clientdata) {
        return SWIG_NewPointerObj(dynamic_cast<void*>(index), type, flags);
    }
    if (auto* ivf = dynamic_cast<faiss::IndexIVF*>(index)) {
        return SWIG_NewPointerObj(ivf, SWIGTYPE_p_faiss__IndexIVF, flags);
    }
    return SWIG_NewPointerObj(index, SWIGTYPE_p_faiss__Index, flags);
}
%}
%typemap(out) faiss::Index* {
    $result = index_object($1, $owner | 0);
}

%include <faiss_vlc/parameters.h>

// What IndexIVFFlat has under the same name is called through its virtual functions, by way of
// FAISS's own wrappers. The model is C++'s affair.
%ignore faiss_vlc::IndexVLC::model;
%ignore faiss_vlc::IndexVLC::lists;
%ignore faiss_vlc::IndexVLC::train_distributed;
%ignore faiss_vlc::IndexVLC::below_id_map;
%ignore faiss_vlc::IndexVLC::IndexVLC(std::shared_ptr<const Model>, const VLCParameters&);
%rename(_assign_lists) faiss_vlc::IndexVLC::assign_lists;
%rename(_held_out_recall) faiss_vlc::IndexVLC::held_out_recall;
%rename(_added_rows) faiss_vlc::IndexVLC::added_rows;
%rename(_refined_on) faiss_vlc::IndexVLC::refined_on;
%ignore faiss_vlc::AddedRows::add;
%define INHERITED(method)
%ignore faiss_vlc::IndexVLC::method;
%enddef
INHERITED(train)
INHERITED(add_with_ids)
INHERITED(add_core)
INHERITED(search)
INHERITED(search_preassigned)
INHERITED(range_search)
INHERITED(range_search_preassigned)
INHERITED(search_and_reconstruct)
INHERITED(reconstruct)
INHERITED(reconstruct_from_offset)
INHERITED(encode_vectors)
INHERITED(sa_encode)
INHERITED(sa_decode)
INHERITED(get_InvertedListScanner)
INHERITED(get_distance_computer)
INHERITED(remove_ids)
INHERITED(update_vectors)
INHERITED(check_compatible_for_merge)
INHERITED(merge_from)
INHERITED(reset)
INHERITED(decode_vectors)
%include <faiss_vlc/findings.h>
#define FAISS_VLC_LIST_CONTEXT(default_value)
#define FAISS_VLC_SCANNER_PARAMS(default_value)
%include <faiss_vlc/IndexVLC.h>

%newobject faiss_vlc::index_factory;
%newobject faiss_vlc::read_index;
%newobject faiss_vlc::clone_index;
%ignore faiss_vlc::Cloner;
%rename(_upgrade) faiss_vlc::upgrade;
%newobject faiss_vlc::upgrade;
%include <faiss_vlc/factory.h>
%include <faiss_vlc/index_io.h>
%include <faiss_vlc/clone.h>
%rename(_train) faiss_vlc::train;
%include <faiss_vlc/train.h>

%inline %{
/// The index with the class that it really has, IndexVLC included; owned by whom it was.
faiss::Index* downcast_index(faiss::Index* index) {
    return index;
}

/// The IndexVLC number i of a tree of indexes, children before parents; None beyond the last.
faiss::Index* vlc_in_tree(faiss::Index* index, int i) {
    std::vector<faiss::Index*> found;
    const std::function<void(faiss::Index&)> collect = [&](faiss::Index& node) {
        faiss_vlc::each_child(node, [&](faiss::Index*& child, bool) { collect(*child); });
        if (dynamic_cast<faiss_vlc::IndexVLC*>(&node)) {
            found.push_back(&node);
        }
    };
    if (index) {
        collect(*index);
    }
    return i >= 0 && i < int(found.size()) ? found[i] : nullptr;
}

/// The sections that a file of the index has, "name bytes" a line.
std::string section_lines(const faiss_vlc::IndexVLC* index) {
    std::string lines;
    faiss_vlc::index_sections(*index).each([&](const std::string& name, uint64_t size, const auto&) {
        lines += name + " " + std::to_string(size) + "\n";
    });
    return lines;
}

/// Bytes of a file of the index.
int64_t payload_size(const faiss_vlc::IndexVLC* index) {
    return int64_t(faiss_vlc::index_sections(*index).total_size());
}

/// The bytes of a section into out, which has room for as many as section_lines() says.
void copy_section(const faiss_vlc::IndexVLC* index, const std::string& wanted, uint8_t* out) {
    struct Sink : faiss_vlc::ByteSink {
        uint8_t* to = nullptr;
        void write(const void* data, size_t size) override {
            to = std::copy_n(static_cast<const uint8_t*>(data), size, to);
        }
    } sink;
    sink.to = out;
    faiss_vlc::index_sections(*index).each([&](const std::string& name, uint64_t, const auto& produce) {
        if (name == wanted) {
            produce(sink);
        }
    });
}

/// The parameters by name, one a line.
std::string parameter_lines() {
    std::string lines;
    for (const faiss_vlc::Parameter& one : faiss_vlc::parameter_table()) {
        lines += one.name + "\n";
    }
    return lines;
}

/// Sets a number among them by name.
void set_parameter(faiss_vlc::VLCParameters* parameters, const std::string& name, double value) {
    faiss_vlc::set_parameter(*parameters, name, value);
}

/// See tree.h.
void mark_id_maps(faiss::Index* index) {
    faiss_vlc::mark_id_maps(*index);
}

/// The OpenCL devices that training can use, GPUs first, one "name (platform)" a line.
std::string device_lines() {
    std::string lines;
    for (const faiss_vlc::DeviceInfo& device : faiss_vlc::list_devices()) {
        lines += device.name + " (" + device.platform + ")\n";
    }
    return lines;
}

/// The level of instructions in use, then all that this machine has, one a line.
std::string simd_lines() {
    std::string lines = std::string(faiss_vlc::simd().name) + "\n";
    for (const char* const* level = faiss_vlc::simd_levels(); *level; level++) {
        lines += std::string(*level) + "\n";
    }
    return lines;
}

/// IndexVLC::train_distributed; all_reduce is the address of an int (int64_t* values, int64_t n),
/// which returns 0 when they are added up.
void train_distributed(faiss_vlc::IndexVLC* index, int64_t n, const float* x, int rank, int ranks,
                       size_t all_reduce, int64_t n_queries, const float* queries) {
    const auto add_up = reinterpret_cast<int (*)(int64_t*, int64_t)>(all_reduce);
    const auto all_reduced = [add_up](int64_t* values, int64_t count) {
        FAISS_THROW_IF_NOT_MSG(add_up(values, count) == 0, "all_reduce failed");
    };
    index->train_distributed(n, x, {rank, ranks, all_reduced}, n_queries, queries);
}

/// The version of FAISS whose headers this was compiled with.
std::string compiled_with_faiss() {
    return std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) + "." +
            std::to_string(FAISS_VERSION_PATCH);
}
%}

// For _layout.py. An "object" is memory that FAISS's accessors take for one.
%exception layout_object {
    $action
}
%inline %{
/// "class field offset size kind" for each public field of FAISS's, as this was compiled, one a line.
std::string layout_fields() {
    std::string lines;
    for (const faiss_vlc::layout::Field& field : faiss_vlc::layout::fields()) {
        lines += std::string(field.owner) + " " + field.name + " " + std::to_string(field.offset) +
                " " + std::to_string(field.size) + " " + field.kind + "\n";
    }
    return lines;
}

/// "class function number" for virtual functions.
std::string layout_virtuals() {
    std::string lines;
    for (const faiss_vlc::layout::Virtual& one : faiss_vlc::layout::virtuals()) {
        lines += std::string(one.owner) + " " + one.name + " " + std::to_string(one.slot) + "\n";
    }
    return lines;
}

/// The classes of both.
std::string layout_classes() {
    std::string lines;
    for (const faiss_vlc::layout::Class& one : faiss_vlc::layout::classes()) {
        lines += std::string(one.name) + "\n";
    }
    return lines;
}

/// What stands at an address, as FAISS's accessors of a class take it; None where FAISS has no such class.
PyObject* layout_object(const std::string& name, size_t address) {
    for (const faiss_vlc::layout::Class& one : faiss_vlc::layout::classes()) {
        swig_type_info* type = name == one.name ? pointer_to(one.type) : nullptr;
        if (type) {
            return SWIG_NewPointerObj(reinterpret_cast<void*>(address), type, 0);
        }
    }
    return SWIG_Py_Void();
}

/// The address of a table whose virtual functions note their number, which layout_entered() takes (-1: none).
size_t layout_table() {
    return reinterpret_cast<size_t>(faiss_vlc::layout::noting_table());
}

/// The address that those functions return from now on; at first 0.
void layout_answer(size_t address) {
    faiss_vlc::layout::answer() = reinterpret_cast<void*>(address);
}

int layout_entered() {
    return std::exchange(faiss_vlc::layout::entered(), -1);
}
%}
