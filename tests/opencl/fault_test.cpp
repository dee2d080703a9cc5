// OpenCL itself fails: this program's own versions of its functions stand before the real ones, for
// our code and for CLBlast's, and return an error where they are told to.

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <CL/cl.h>

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include <faiss_vlc/model/model.h>
#include <opencl/device.h>
#include <opencl/kernels.h>

#include <tests/support/index_test.h>
#include <tests/support/tier_index.h>

using namespace faiss_vlc;

namespace {

/// The failure that is planned, and what was called so far.
struct Plan {
    std::string function;
    cl_int code = CL_SUCCESS;
    int at = 0;           ///< which call of that function fails, from 1; 0: none
    bool lasting = false; ///< and whatever is called after it: the device is lost
    bool failed = false;
    std::map<std::string, int> calls;
    std::string driver;  ///< version that the device says its driver has, if not empty
    bool aborts = false; ///< when it compiles assembly
    cl_ulong memory = 0; ///< that the device says it has, if not 0
} plan;

/// What this call returns if it fails.
cl_int outcome(const char* function) {
    const int call = ++plan.calls[function];
    if (plan.lasting && plan.failed) {
        return plan.code;
    }
    if (plan.at > 0 && call == plan.at && plan.function == function) {
        plan.failed = true;
        return plan.code;
    }
    return CL_SUCCESS;
}

template <class Function>
Function* real(Function*, const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

} // namespace

// Functions that return an error code, and those that return an object and take where to put one.
#define FORWARD(name, parameters, arguments)               \
    extern "C" cl_int name parameters {                    \
        static const auto next = real(&name, #name);       \
        const cl_int code = outcome(#name);                \
        return code != CL_SUCCESS ? code : next arguments; \
    }
#define FORWARD_OBJECT(type, name, parameters, arguments) \
    extern "C" type name parameters {                     \
        static const auto next = real(&name, #name);      \
        const cl_int code = outcome(#name);               \
        if (code != CL_SUCCESS) {                         \
            if (error) {                                  \
                *error = code;                            \
            }                                             \
            return nullptr;                               \
        }                                                 \
        return next arguments;                            \
    }

using Context = const cl_context_properties*;
using Notify = void(CL_CALLBACK*)(const char*, const void*, size_t, void*);
using BuildNotify = void(CL_CALLBACK*)(cl_program, void*);

FORWARD_OBJECT(cl_context, clCreateContext,
               (Context p, cl_uint n, const cl_device_id* d, Notify f, void* u, cl_int* error),
               (p, n, d, f, u, error))
FORWARD_OBJECT(cl_command_queue, clCreateCommandQueue,
               (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int* error),
               (c, d, p, error))
FORWARD_OBJECT(cl_mem, clCreateBuffer,
               (cl_context c, cl_mem_flags f, size_t s, void* h, cl_int* error),
               (c, f, s, h, error))
FORWARD_OBJECT(cl_program, clCreateProgramWithSource,
               (cl_context c, cl_uint n, const char** s, const size_t* l, cl_int* error),
               (c, n, s, l, error))
FORWARD_OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char* n, cl_int* error),
               (p, n, error))
FORWARD(clSetKernelArg, (cl_kernel k, cl_uint i, size_t s, const void* v), (k, i, s, v))
FORWARD(clEnqueueNDRangeKernel,
        (cl_command_queue q, cl_kernel k, cl_uint d, const size_t* o, const size_t* g,
         const size_t* l, cl_uint n, const cl_event* w, cl_event* e),
        (q, k, d, o, g, l, n, w, e))
FORWARD(clEnqueueReadBuffer,
        (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, void* p, cl_uint n,
         const cl_event* w, cl_event* e),
        (q, m, b, o, s, p, n, w, e))
FORWARD(clEnqueueWriteBuffer,
        (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, const void* p, cl_uint n,
         const cl_event* w, cl_event* e),
        (q, m, b, o, s, p, n, w, e))
FORWARD(clEnqueueFillBuffer,
        (cl_command_queue q, cl_mem m, const void* p, size_t ps, size_t o, size_t s, cl_uint n,
         const cl_event* w, cl_event* e),
        (q, m, p, ps, o, s, n, w, e))
FORWARD(clFinish, (cl_command_queue q), (q))

/// A compiler that aborts on assembly, as PoCL 6.0's does, if the plan says so.
extern "C" cl_int clBuildProgram(cl_program program, cl_uint count, const cl_device_id* devices,
                                 const char* options, BuildNotify notify, void* data) {
    static const auto next = real(&clBuildProgram, "clBuildProgram");
    if (plan.aborts && options && std::strstr(options, "-DDOT_VNNI")) {
        abort();
    }
    const cl_int code = outcome("clBuildProgram");
    return code != CL_SUCCESS ? code : next(program, count, devices, options, notify, data);
}

/// A device without double precision, and perhaps with another driver.
extern "C" cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size,
                                  void* value, size_t* needed) {
    static const auto next = real(&clGetDeviceInfo, "clGetDeviceInfo");
    if (what == CL_DRIVER_VERSION && !plan.driver.empty()) {
        if (needed) {
            *needed = plan.driver.size() + 1;
        }
        if (value && size > plan.driver.size()) {
            std::memcpy(value, plan.driver.c_str(), plan.driver.size() + 1);
        }
        return CL_SUCCESS;
    }
    const cl_int code = next(device, what, size, value, needed);
    if (what == CL_DEVICE_GLOBAL_MEM_SIZE && plan.memory > 0 && value) {
        std::memcpy(value, &plan.memory, sizeof(plan.memory));
    }
    if (what == CL_DEVICE_EXTENSIONS && value) {
        if (char* found = std::strstr(static_cast<char*>(value), "cl_khr_fp64")) {
            std::memcpy(found, "cl_xyz_none", 11);
        }
    }
    return code;
}

namespace {

constexpr int kDim = 12;
constexpr int kCount = 120;

class OpenCLFault : public testing::Test {
protected:
    void SetUp() override {
        unsetenv("VLC_DEVICE");
        plan = Plan();
    }
    void TearDown() override { plan = Plan(); }

    static IndexVLC fresh(const char* device) {
        VLCParameters params = quick(5, 6);
        params.device = device;
        return IndexVLC(kDim, params);
    }
    static void arrange(const char* function, cl_int code, int at, bool lasting) {
        plan = Plan();
        plan.function = function;
        plan.code = code;
        plan.at = at;
        plan.lasting = lasting;
    }
    void use(IndexVLC& index) const {
        index.train(kCount, x_.data());
        index.add(kCount, x_.data());
    }
    /// Fails the calls of one function one after the other, about `most` of them.
    void fail_each(const char* function, cl_int code, int most, bool lasting = false) const {
        SCOPED_TRACE(function);
        plan = Plan();
        IndexVLC whole = fresh("opencl:");
        use(whole);
        const int calls = plan.calls[function];
        ASSERT_GT(calls, 0);
        IndexVLC expected = fresh("reference");
        use(expected);
        EXPECT_EQ(written(whole), written(expected));
        const std::string device = whole.trained_on;
        for (int at = 1; at <= calls; at += std::max(1, calls / most)) {
            SCOPED_TRACE(at);
            IndexVLC index = fresh("opencl:");
            arrange(function, code, at, lasting);
            try {
                use(index);
                ADD_FAILURE() << "no exception";
            } catch (const faiss::FaissException& error) {
                EXPECT_NE(error.msg.find(device), std::string::npos) << error.msg;
            }
            EXPECT_TRUE(plan.failed);
            EXPECT_EQ(index.ntotal, 0);
            EXPECT_EQ(index.is_trained, index.model != nullptr);
            EXPECT_EQ(index.is_trained, !index.trained_on.empty());
            if (index.is_trained) { // it was adding that failed
                EXPECT_TRUE(index.model->same_as(*whole.model));
            }
            plan = Plan();
            if (!index.is_trained) {
                index.train(kCount, x_.data());
            }
            index.add(kCount, x_.data());
            EXPECT_EQ(written(index), written(expected));

            IndexVLC automatic = fresh("auto");
            arrange(function, code, at, lasting);
            testing::internal::CaptureStderr();
            use(automatic);
            const std::string said = testing::internal::GetCapturedStderr();
            const bool met = plan.failed; // adding may need no device
            plan = Plan();
            EXPECT_EQ(written(automatic), written(expected));
            if (met && std::strncmp(function, "clCreateCo", 10) != 0) { // else there is no device
                EXPECT_NE(said.find("using the CPU reference"), std::string::npos) << said;
            }
        }
    }
    /// Trained on the rows and filled with them: two tiers, the second of so many bytes.
    std::unique_ptr<IndexVLC> refined_by_sums(int second_bytes) const {
        VLCParameters params = quick(5, 6);
        params.codec = Codec::lattice;
        params.second_bytes = second_bytes;
        IndexVLC trained(kDim, params);
        trained.train(kCount, x_.data());
        std::unique_ptr<IndexVLC> index = with_factors(trained, 3);
        index->add(kCount, x_.data());
        return index;
    }
    const std::vector<float> x_ = clustered(kCount, kDim, 8, 3);
};

} // namespace

TEST_F(OpenCLFault, OutOfDeviceMemory) {
    const auto device = open_device("opencl:"); // its programs stay
    fail_each("clCreateBuffer", CL_MEM_OBJECT_ALLOCATION_FAILURE, 12);
    fail_each("clCreateBuffer", CL_OUT_OF_HOST_MEMORY, 4, true);
    fail_each("clEnqueueFillBuffer", CL_OUT_OF_RESOURCES, 6);
    fail_each("clEnqueueNDRangeKernel", CL_MEM_OBJECT_ALLOCATION_FAILURE, 12);
}

TEST_F(OpenCLFault, LostDevice) {
    {
        const auto device = open_device("opencl:");
        fail_each("clEnqueueNDRangeKernel", CL_OUT_OF_RESOURCES, 8, true);
        fail_each("clEnqueueReadBuffer", CL_DEVICE_NOT_AVAILABLE, 8, true);
        fail_each("clEnqueueWriteBuffer", CL_OUT_OF_RESOURCES, 8, true);
        fail_each("clSetKernelArg", CL_INVALID_KERNEL, 6);
    }
    fail_each("clCreateContext", CL_DEVICE_NOT_AVAILABLE, 2, true);
    fail_each("clCreateCommandQueue", CL_OUT_OF_RESOURCES, 2, true);
}

TEST_F(OpenCLFault, KernelsThatDontBuild) {
    fail_each("clBuildProgram", CL_BUILD_PROGRAM_FAILURE, 2, true);
    fail_each("clCreateProgramWithSource", CL_OUT_OF_HOST_MEMORY, 2, true);
    fail_each("clCreateKernel", CL_INVALID_KERNEL_NAME, 4, true);
}

// Where refining on the device fails, the CPU refines, until the lists change. Where searching
// there fails, too, that is an error, as ever.
TEST_F(OpenCLFault, RefiningFails) {
    const std::unique_ptr<IndexVLC> index = refined_by_sums(17);
    const Results expected = search(*index, x_, 5);
    index->search_device = "opencl:";
    const auto device = open_device("opencl:"); // its programs stay
    for (const char* function : {"clCreateBuffer", "clEnqueueWriteBuffer", "clEnqueueFillBuffer",
                                 "clSetKernelArg", "clEnqueueNDRangeKernel", "clFinish"}) {
        SCOPED_TRACE(function);
        plan = Plan();
        IndexVLC whole(*index);
        EXPECT_EQ(search(whole, x_, 5), expected);
        EXPECT_EQ(whole.refined_on(), "opencl:");
        const int calls = plan.calls[function];
        ASSERT_GT(calls, 0);
        for (int at = 1; at <= calls; at += std::max(1, calls / 25)) {
            SCOPED_TRACE(at);
            IndexVLC own(*index);
            arrange(function, CL_MEM_OBJECT_ALLOCATION_FAILURE, at, false);
            EXPECT_EQ(search(own, x_, 5), expected);
            EXPECT_TRUE(plan.failed);
            EXPECT_EQ(own.refined_on(), "reference");
            EXPECT_EQ(search(own, x_, 5), expected);
            EXPECT_EQ(own.refined_on(), "reference"); // it doesn't try again
            own.remove_ids(faiss::IDSelectorRange(0, 1));
            search(own, x_, 5);
            EXPECT_EQ(own.refined_on(), "opencl:");
        }
        IndexVLC own(*index);
        arrange(function, CL_OUT_OF_RESOURCES, 1, true);
        try {
            search(own, x_, 5);
            ADD_FAILURE() << "no exception";
        } catch (const faiss::FaissException& error) {
            EXPECT_NE(error.msg.find(device->info().name), std::string::npos) << error.msg;
        }
        EXPECT_EQ(own.refined_on(), "");
        plan = Plan();
        EXPECT_EQ(search(own, x_, 5), expected);
    }
}

// A device with room for first codes, but not for second ones.
TEST_F(OpenCLFault, SecondCodesFindNoRoom) {
    const std::unique_ptr<IndexVLC> index = refined_by_sums(kDim + 3);
    std::vector<float> rows;
    for (int i = 0; i < 60; i++) {
        rows.insert(rows.end(), x_.begin(), x_.end());
    }
    index->add(int64_t(rows.size()) / kDim, rows.data());
    const auto queries = std::vector<float>(x_.begin(), x_.begin() + 8 * kDim);
    const Results expected = search(*index, queries, 5);
    index->search_device = "opencl:";
    const auto n = cl_ulong(index->ntotal);
    const cl_ulong first = n * (6 + 4), second = n * 16;
    for (const bool has_room : {false, true}) {
        plan.memory = has_room ? 2 * (first + second) : first + second;
        IndexVLC own(*index);
        EXPECT_EQ(search(own, queries, 5), expected);
        EXPECT_EQ(own.refined_on(), has_room ? "opencl:" : "reference");
        plan = Plan();
    }
}

// What PoCL 4.0 to 6.0 does not survive is not tried there, and what is slower is not taken
// elsewhere.
TEST_F(OpenCLFault, ACompilerThatAborts) {
    IndexVLC expected = fresh("reference");
    use(expected);
    const auto has_vnni = [](const char* driver) {
        plan.driver = driver;
        const auto device = open_device("opencl:");
        EXPECT_EQ(device->info().driver, driver);
        const std::vector<Dot> dots = usable_dots(*device);
        return std::any_of(dots.begin(), dots.end(),
                           [](const Dot& dot) { return std::strcmp(dot.name, "vnni") == 0; });
    };
    for (const char* driver : {"4.0", "5.0+debian", "6.0+debian", "6.1-pre main-0-gabc", "git"}) {
        SCOPED_TRACE(driver);
        EXPECT_FALSE(has_vnni(driver));
        plan.aborts = true;
        for (const char* device : {"opencl:", "auto"}) {
            IndexVLC index = fresh(device);
            use(index);
            EXPECT_NE(index.trained_on, "reference");
            EXPECT_EQ(written(index), written(expected));
        }
        plan = Plan();
    }
#if defined(__x86_64__)
    const bool pocl = open_device("opencl:")->info().platform == "Portable Computing Language";
    const bool expected_vnni =
            pocl && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
    for (const char* driver : {"1.8", "3.1+debian", "7.0", "7.1+debian", "10.0"}) {
        EXPECT_EQ(has_vnni(driver), expected_vnni) << driver;
    }
#endif
}

// The first way to multiply does not build: the next one does.
TEST_F(OpenCLFault, OneBuildFails) {
    IndexVLC expected = fresh("reference");
    use(expected);
    IndexVLC index = fresh("opencl:");
    arrange("clBuildProgram", CL_BUILD_PROGRAM_FAILURE, 1, false);
    try {
        use(index);
        EXPECT_EQ(written(index), written(expected));
    } catch (const faiss::FaissException& error) { // a machine with but one way
        EXPECT_NE(error.msg.find("building"), std::string::npos) << error.msg;
    }
    EXPECT_TRUE(plan.failed);
}
