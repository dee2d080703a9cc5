#include <opencl/device.h>

#include <unistd.h>

#include <algorithm>
#include <utility>

#include <faiss_vlc/lib/error.h>
#include <opencl/device_internal.h>
#include <opencl/hopper.h>
#include <opencl/kernel_source.h>

namespace faiss_vlc {
namespace {

constexpr uint64_t kPad = 256;

/// The .cl files of a program in the order that they follow each other in.
std::vector<const char*> stems(Program program) {
    switch (program) {
    case Program::kMma:
        return {"common", "mma", "assign_tensor", "assign_mma"};
    case Program::kWgmma:
        return {"common", "assign_tensor", "assign_wgmma"};
    case Program::kNearMma:
        return {"common", "mma", "near_mma"};
    case Program::kSearch:
        return {"search_records", "select", "rank", "scan", "scan_words", "worth", "refine"};
    default:
        return {"common", "assign", "near", "reduce", "update", "maintain", "covariance"};
    }
}

} // namespace

const char* opencl_error_name(int code) {
    switch (code) {
    case CL_DEVICE_NOT_AVAILABLE:
        return "CL_DEVICE_NOT_AVAILABLE";
    case CL_COMPILER_NOT_AVAILABLE:
        return "CL_COMPILER_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
        return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES:
        return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY:
        return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE:
        return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_VALUE:
        return "CL_INVALID_VALUE";
    case CL_INVALID_DEVICE:
        return "CL_INVALID_DEVICE";
    case CL_INVALID_MEM_OBJECT:
        return "CL_INVALID_MEM_OBJECT";
    case CL_INVALID_KERNEL_NAME:
        return "CL_INVALID_KERNEL_NAME";
    case CL_INVALID_ARG_INDEX:
        return "CL_INVALID_ARG_INDEX";
    case CL_INVALID_ARG_VALUE:
        return "CL_INVALID_ARG_VALUE";
    case CL_INVALID_ARG_SIZE:
        return "CL_INVALID_ARG_SIZE";
    case CL_INVALID_KERNEL_ARGS:
        return "CL_INVALID_KERNEL_ARGS";
    case CL_INVALID_WORK_GROUP_SIZE:
        return "CL_INVALID_WORK_GROUP_SIZE";
    case CL_INVALID_BUFFER_SIZE:
        return "CL_INVALID_BUFFER_SIZE";
    default:
        return "OpenCL error";
    }
}

bool DeviceInfo::is_this_cpu() const {
    return type == DeviceType::kCpu && platform == "Portable Computing Language";
}

Buffer::Buffer(Buffer&& other) noexcept {
    *this = std::move(other);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Buffer::~Buffer() {
    if (handle_ && !device_->in_child()) {
        clReleaseMemObject(handle_);
    }
}

HostMemory::HostMemory(HostMemory&& other) noexcept {
    *this = std::move(other);
}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(data_, other.data_);
    return *this;
}

HostMemory::~HostMemory() {
    if (data_ && !buffer_.device_->in_child()) {
        clEnqueueUnmapMemObject(buffer_.device_->queue(), buffer_.handle_, data_, 0, nullptr,
                                nullptr);
    }
}

Buffer Device::allocate_bytes(uint64_t count, uint64_t size, const char* what, bool on_host) {
    const uint64_t padded = checked_add(std::max<uint64_t>(count, 1), kPad - 1, what) / kPad * kPad;
    const uint64_t bytes = checked_mul(padded, size, what);
    if (bytes > info().global_mem) { // some drivers only notice when they use it
        fail("OpenCL device '%s' has %llu bytes of memory: too little for %llu of %s",
             info().name.c_str(), (unsigned long long)info().global_mem, (unsigned long long)bytes,
             what);
    }
    const auto hold = lock();
    cl_int code = CL_SUCCESS;
    Buffer buffer;
    buffer.handle_ = clCreateBuffer(state_->context(),
                                    CL_MEM_READ_WRITE | (on_host ? CL_MEM_ALLOC_HOST_PTR : 0),
                                    bytes, nullptr, &code);
    buffer.device_ = shared_from_this();
    buffer.bytes_ = bytes;
    if (code != CL_SUCCESS) {
        buffer.handle_ = nullptr;
        fail("OpenCL device '%s': clCreateBuffer of %llu bytes for %s failed: %s (%d)",
             info().name.c_str(), (unsigned long long)bytes, what, opencl_error_name(code), code);
    }
    ++state_->allocations;
    fill(buffer, 0, bytes);
    return buffer;
}

Buffer Device::wrap(void* data, uint64_t bytes) {
    const auto hold = lock();
    cl_int code = CL_SUCCESS;
    Buffer buffer;
    buffer.handle_ = clCreateBuffer(state_->context(), CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR,
                                    bytes, data, &code);
    buffer.device_ = shared_from_this();
    buffer.bytes_ = bytes;
    if (code != CL_SUCCESS) {
        buffer.handle_ = nullptr;
    }
    check(code, "clCreateBuffer", "the host's memory");
    ++state_->allocations;
    return buffer;
}

Buffer Device::view(const Buffer& buffer, size_t offset) {
    const auto hold = lock();
    check_range(buffer, offset, 1, "clCreateSubBuffer");
    const cl_buffer_region region{offset, buffer.bytes_ - offset};
    cl_int code = CL_SUCCESS;
    Buffer part;
    part.handle_ = clCreateSubBuffer(buffer.handle_, CL_MEM_READ_WRITE,
                                     CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    part.device_ = shared_from_this();
    part.bytes_ = region.size;
    check(code, "clCreateSubBuffer", "");
    return part;
}

void Device::write(Buffer& buffer, const void* data, size_t bytes, size_t offset) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(buffer, offset, bytes, "write");
    check(clEnqueueWriteBuffer(state_->queue(), buffer.handle_, CL_TRUE, offset, bytes, data, 0,
                               nullptr, nullptr),
          "clEnqueueWriteBuffer", "");
}

void Device::read(const Buffer& buffer, void* data, size_t bytes, size_t offset) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(buffer, offset, bytes, "read");
    check(clEnqueueReadBuffer(state_->queue(), buffer.handle_, CL_TRUE, offset, bytes, data, 0,
                              nullptr, nullptr),
          "clEnqueueReadBuffer", "");
}

MappedBuffer::MappedBuffer(MappedBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    std::swap(data_, other.data_);
}

MappedBuffer::~MappedBuffer() {
    if (data_ && !device_->in_child()) {
        clEnqueueUnmapMemObject(device_->queue(), handle_, data_, 0, nullptr, nullptr);
    }
}

MappedBuffer Device::map(const Buffer& buffer) {
    const auto hold = lock();
    cl_int code = CL_SUCCESS;
    MappedBuffer mapped;
    mapped.device_ = shared_from_this();
    mapped.handle_ = buffer.handle_;
    mapped.data_ =
            clEnqueueMapBuffer(state_->queue(), buffer.handle_, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                               0, buffer.bytes_, 0, nullptr, nullptr, &code);
    if (code != CL_SUCCESS) {
        mapped.data_ = nullptr;
    }
    check(code, "clEnqueueMapBuffer", "");
    return mapped;
}

HostMemory Device::allocate_host(uint64_t bytes, const char* what) {
    const auto hold = lock();
    HostMemory memory;
    memory.buffer_ = allocate_bytes(bytes, 1, what, true);
    cl_int code = CL_SUCCESS;
    memory.data_ = clEnqueueMapBuffer(state_->queue(), memory.buffer_.handle_, CL_TRUE,
                                      CL_MAP_READ | CL_MAP_WRITE, 0, memory.bytes(), 0, nullptr,
                                      nullptr, &code);
    check(code, "clEnqueueMapBuffer", what);
    return memory;
}

void Device::send(const HostMemory& from, size_t offset, Buffer& to, size_t bytes,
                  size_t to_offset) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(from.buffer_, offset, bytes, "send");
    check_range(to, to_offset, bytes, "send");
    check(clEnqueueWriteBuffer(state_->queue(), to.handle_, CL_FALSE, to_offset, bytes,
                               from.as<char>() + offset, 0, nullptr, nullptr),
          "clEnqueueWriteBuffer", "");
}

void Device::fetch(const Buffer& from, HostMemory& to, size_t offset, size_t bytes) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(from, 0, bytes, "fetch");
    check_range(to.buffer_, offset, bytes, "fetch");
    check(clEnqueueReadBuffer(state_->queue(), from.handle_, CL_FALSE, 0, bytes,
                              to.as<char>() + offset, 0, nullptr, nullptr),
          "clEnqueueReadBuffer", "");
}

void Device::fill(Buffer& buffer, int32_t value, size_t bytes) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(buffer, 0, bytes, "fill");
    check(clEnqueueFillBuffer(state_->queue(), buffer.handle_, &value, sizeof(value), 0, bytes, 0,
                              nullptr, nullptr),
          "clEnqueueFillBuffer", "");
}

void Device::copy(const Buffer& from, Buffer& to, size_t bytes) {
    if (bytes == 0) {
        return;
    }
    const auto hold = lock();
    check_range(from, 0, bytes, "copy");
    check_range(to, 0, bytes, "copy");
    check(clEnqueueCopyBuffer(state_->queue(), from.handle_, to.handle_, 0, 0, bytes, 0, nullptr,
                              nullptr),
          "clEnqueueCopyBuffer", "");
}

Device::Device(std::unique_ptr<State> state) : state_(std::move(state)) {}

Device::~Device() {
    if (in_child()) {
        (void)state_.release(); // the runtime's threads are gone: releasing could wait for them for
                                // ever
    }
}

bool Device::in_child() const noexcept {
    return getpid() != state_->process;
}

const DeviceInfo& Device::info() const {
    return state_->info;
}

std::unique_lock<std::recursive_mutex> Device::lock() const {
    // Before locking: in a child the mutex may be held by a thread that does not exist there.
    if (in_child()) {
        fail("OpenCL device '%s' was opened before this process was forked and can't be used in "
             "it: start processes anew instead (Python: multiprocessing's 'spawn')",
             info().name.c_str());
    }
    return std::unique_lock<std::recursive_mutex>(state_->mutex);
}

_cl_command_queue* Device::queue() const {
    return state_->queue();
}

void Device::check(int code, const char* call, const char* what) const {
    if (code != CL_SUCCESS) {
        fail("OpenCL device '%s': %s(%s) failed: %s (%d)", info().name.c_str(), call, what,
             opencl_error_name(code), code);
    }
}

void Device::check_range(const Buffer& buffer, size_t offset, size_t bytes,
                         const char* call) const {
    if (!buffer.handle_ || offset > buffer.bytes_ || bytes > buffer.bytes_ - offset) {
        fail("OpenCL device '%s': %s of %zu bytes at %zu is outside a buffer of %zu bytes",
             info().name.c_str(), call, bytes, offset, buffer.bytes_);
    }
}

Kernel& Device::kernel(const char* name, const std::string& options, Program kind) {
    const auto hold = lock();
    const std::string program_key = std::to_string(int(kind)) + ' ' + options;
    const std::string key = std::string(name) + ' ' + program_key;
    const auto known = state_->kernels.find(key);
    if (known != state_->kernels.end()) {
        return *known->second;
    }
    try {
        auto program = state_->programs.find(program_key);
        if (program == state_->programs.end()) {
            std::string source;
            for (const char* stem : stems(kind)) {
                source += kernel_source(stem);
            }
            cl::Program built(state_->context, source);
            built.build(("-cl-std=CL1.2 " + state_->options + options).c_str());
            if (kind == Program::kWgmma) {
                built = build_for_hopper(state_->context, state_->device, built);
            }
            program = state_->programs.emplace(program_key, built).first;
        }
        cl::Kernel made(program->second, name);
        auto kernel = std::make_unique<Kernel>();
        kernel->name_ = name;
        kernel->arguments_ = made.getInfo<CL_KERNEL_NUM_ARGS>();
        kernel->max_work_group_ = made.getWorkGroupInfo<CL_KERNEL_WORK_GROUP_SIZE>(state_->device);
        kernel->handle_ = made();
        made() = nullptr;
        return *(state_->kernels[key] = std::move(kernel));
    } catch (const cl::BuildError& error) {
        std::string log;
        for (const auto& entry : error.getBuildLog()) {
            log += entry.second;
        }
        fail("OpenCL device '%s': building the kernels with '%s' failed: %.2000s",
             info().name.c_str(), options.c_str(), log.c_str());
    } catch (const cl::Error& error) {
        fail("OpenCL device '%s': %s for kernel %s failed: %s (%d)", info().name.c_str(),
             error.what(), name, opencl_error_name(error.err()), error.err());
    }
}

void Device::check_arguments(const Kernel& kernel, unsigned given) const {
    if (given != kernel.arguments_) {
        fail("kernel %s takes %u arguments, %u were given", kernel.name_.c_str(), kernel.arguments_,
             given);
    }
}

void Device::set_raw(Kernel& kernel, unsigned index, size_t size, const void* value) {
    check(clSetKernelArg(kernel.handle_, index, size, value), "clSetKernelArg",
          kernel.name_.c_str());
}

void Device::enqueue(Kernel& kernel, size_t items, size_t work_group) {
    if (items == 0) {
        return;
    }
    const size_t global = (items + work_group - 1) / work_group * work_group;
    cl_event event = nullptr;
    check(clEnqueueNDRangeKernel(state_->queue(), kernel.handle_, 1, nullptr, &global, &work_group,
                                 0, nullptr, state_->profile ? &event : nullptr),
          "clEnqueueNDRangeKernel", kernel.name_.c_str());
    ++kernel.launches_;
    if (event) {
        const cl::Event timed(event);
        cl_ulong start = 0;
        cl_ulong end = 0;
        cl_int code = clWaitForEvents(1, &event);
        code |= clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(start), &start,
                                        nullptr);
        code |= clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end,
                                        nullptr);
        check(code, "profiling", kernel.name_.c_str());
        kernel.nanoseconds_ += end - start;
    }
}

void Device::finish() {
    const auto hold = lock();
    check(clFinish(state_->queue()), "clFinish", "");
}

void Device::count_launch(const char* name) {
    const auto hold = lock();
    ++state_->library_launches[name];
}

std::map<std::string, uint64_t> Device::launches() const {
    const auto hold = lock();
    std::map<std::string, uint64_t> counts = state_->library_launches;
    for (const auto& entry : state_->kernels) {
        counts[entry.second->name_] += entry.second->launches_;
    }
    return counts;
}

std::map<std::string, double> Device::seconds() const {
    const auto hold = lock();
    std::map<std::string, double> times;
    for (const auto& entry : state_->kernels) {
        if (state_->profile) {
            times[entry.second->name_] += 1e-9 * (double)entry.second->nanoseconds_;
        }
    }
    return times;
}

uint64_t Device::allocations() const {
    const auto hold = lock();
    return state_->allocations;
}

} // namespace faiss_vlc
