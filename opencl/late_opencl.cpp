// The OpenCL functions that the library calls, for builds that don't link OpenCL (FAISS_VLC_WHEEL):
// each calls the one of libOpenCL.so.1, which is opened when platforms are first asked for. Without
// that library there are none. Nothing else is called before a platform was found.

#include <dlfcn.h>

#include <cstddef>
#include <tuple>

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#pragma GCC visibility push(hidden) // these are for us alone
#include <CL/cl.h>
#pragma GCC visibility pop

namespace faiss_vlc {
namespace {

// With the number of their parameters; clGetPlatformIDs is apart.
// clang-format off
#define FUNCTIONS(X) \
    X(clBuildProgram, 6) X(clCreateBuffer, 5) X(clCreateCommandQueue, 4) \
    X(clCreateContext, 6) X(clCreateKernel, 3) X(clCreateProgramWithBinary, 7) \
    X(clCreateProgramWithSource, 5) X(clCreateSubBuffer, 5) X(clEnqueueCopyBuffer, 9) \
    X(clEnqueueFillBuffer, 9) X(clEnqueueMapBuffer, 10) X(clEnqueueNDRangeKernel, 9) \
    X(clEnqueueReadBuffer, 9) X(clEnqueueUnmapMemObject, 6) X(clEnqueueWriteBuffer, 9) \
    X(clFinish, 1) X(clGetCommandQueueInfo, 5) X(clGetDeviceIDs, 5) \
    X(clGetDeviceInfo, 5) X(clGetEventProfilingInfo, 5) X(clGetKernelInfo, 5) \
    X(clGetKernelWorkGroupInfo, 6) X(clGetPlatformInfo, 5) X(clGetProgramBuildInfo, 6) \
    X(clGetProgramInfo, 5) X(clReleaseCommandQueue, 1) X(clReleaseContext, 1) \
    X(clReleaseDevice, 1) X(clReleaseEvent, 1) X(clReleaseKernel, 1) \
    X(clReleaseMemObject, 1) X(clReleaseProgram, 1) X(clRetainDevice, 1) \
    X(clRetainProgram, 1) X(clSetKernelArg, 4) X(clWaitForEvents, 2)
// clang-format on

constexpr cl_int kNoPlatform = -1001; // CL_PLATFORM_NOT_FOUND_KHR, as OpenCL's loader says it

struct Functions {
    decltype(&::clGetPlatformIDs) clGetPlatformIDs = nullptr;
#define POINTER(name, parameters) decltype(&::name) name = nullptr;
    FUNCTIONS(POINTER)
#undef POINTER
    bool complete = false;

    Functions() {
        void* library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            return;
        }
        complete = find(library, "clGetPlatformIDs", clGetPlatformIDs);
#define FIND(name, parameters) complete = find(library, #name, name) && complete;
        FUNCTIONS(FIND)
#undef FIND
    }

    template <class F>
    static bool find(void* library, const char* name, F*& function) {
        function = reinterpret_cast<F*>(dlsym(library, name));
        return function != nullptr;
    }
};

const Functions& late() {
    static const Functions functions;
    return functions;
}

template <class F>
struct Signature;
template <class R, class... P>
struct Signature<R(P...)> {
    using Result = R;
    template <size_t i>
    using Parameter = std::tuple_element_t<i, std::tuple<P...>>;
};

} // namespace
} // namespace faiss_vlc

extern "C" {

cl_int clGetPlatformIDs(cl_uint size, cl_platform_id* platforms, cl_uint* count) {
    if (!faiss_vlc::late().complete) {
        return faiss_vlc::kNoPlatform;
    }
    return faiss_vlc::late().clGetPlatformIDs(size, platforms, count);
}

// Their parameters are those of the header, p0 and so on.
#define DECLARE(name, i) faiss_vlc::Signature<decltype(::name)>::Parameter<i> p##i
#define DECLARE_1(name) DECLARE(name, 0)
#define DECLARE_2(name) DECLARE_1(name), DECLARE(name, 1)
#define DECLARE_3(name) DECLARE_2(name), DECLARE(name, 2)
#define DECLARE_4(name) DECLARE_3(name), DECLARE(name, 3)
#define DECLARE_5(name) DECLARE_4(name), DECLARE(name, 4)
#define DECLARE_6(name) DECLARE_5(name), DECLARE(name, 5)
#define DECLARE_7(name) DECLARE_6(name), DECLARE(name, 6)
#define DECLARE_9(name) DECLARE_7(name), DECLARE(name, 7), DECLARE(name, 8)
#define DECLARE_10(name) DECLARE_9(name), DECLARE(name, 9)
#define PASS_1 p0
#define PASS_2 PASS_1, p1
#define PASS_3 PASS_2, p2
#define PASS_4 PASS_3, p3
#define PASS_5 PASS_4, p4
#define PASS_6 PASS_5, p5
#define PASS_7 PASS_6, p6
#define PASS_9 PASS_7, p7, p8
#define PASS_10 PASS_9, p9
#define DEFINE(name, parameters)                                                      \
    faiss_vlc::Signature<decltype(::name)>::Result name(DECLARE_##parameters(name)) { \
        return faiss_vlc::late().name(PASS_##parameters);                             \
    }
FUNCTIONS(DEFINE)

} // extern "C"
