#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

// OpenCL's own names, so that its headers are not needed here.
struct _cl_command_queue; // NOLINT(bugprone-reserved-identifier)
struct _cl_kernel;        // NOLINT(bugprone-reserved-identifier)
struct _cl_mem;           // NOLINT(bugprone-reserved-identifier)

namespace faiss_vlc {

enum class DeviceType { kGpu, kCpu, kOther };

/// What an OpenCL device says about itself. Sizes in bytes.
struct DeviceInfo {
    std::string name;
    std::string vendor;
    std::string driver;
    std::string version;
    std::string platform;
    DeviceType type = DeviceType::kOther;
    uint32_t compute_units = 0;
    uint64_t global_mem = 0;
    uint64_t max_allocation = 0; ///< of one buffer
    uint64_t local_mem = 0;
    size_t max_work_group = 0;
    bool integer_dot = false;   ///< has cl_khr_integer_dot_product
    bool exact_floats = false;  ///< denormals, and division rounded correctly
    int compute_capability = 0; ///< of an NVIDIA device, 10 * major + minor; else 0

    /// Whether it is the CPU that runs us, whose memory is the host's: only PoCL's CPU devices are
    /// known to be, and to have its compiler's builtins.
    bool is_this_cpu() const;
};

/// A program is common.cl and the files of its kind.
enum class Program {
    kGeneral, ///< all but the following
    kMma,     ///< assignment by mma.sync, see assign_mma.cl
    kWgmma,   ///< assignment by wgmma, see assign_wgmma.cl
    kNearMma, ///< scores of anchors by mma.sync, see near_mma.cl
    kSearch,  ///< all of searching
};

/// All usable OpenCL devices (available, little-endian, with a compiler), GPUs first, then CPUs,
/// then others. Empty without an ICD or a platform; never throws for that.
std::vector<DeviceInfo> list_devices();

class Device;

/// Memory on a Device; owns it and keeps the Device alive. Move-only.
class Buffer {
public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    /// Usable size: what was asked for, rounded up by Device::allocate.
    size_t bytes() const { return bytes_; }
    _cl_mem* handle() const { return handle_; }

private:
    friend class Device;
    friend class HostMemory;
    std::shared_ptr<Device> device_;
    _cl_mem* handle_ = nullptr;
    size_t bytes_ = 0;
};

/// Memory of the host that a Device reads and writes at full speed; zeros at first. Move-only.
class HostMemory {
public:
    HostMemory() = default;
    HostMemory(HostMemory&& other) noexcept;
    HostMemory& operator=(HostMemory&& other) noexcept;
    ~HostMemory();

    template <class T>
    T* as() const {
        return static_cast<T*>(data_);
    }
    size_t bytes() const { return buffer_.bytes(); }

private:
    friend class Device;
    Buffer buffer_;
    void* data_ = nullptr;
};

/// A buffer as the host sees it, from Device::map until it goes; kernels must not use the buffer
/// meanwhile. Move-only.
class MappedBuffer {
public:
    MappedBuffer(MappedBuffer&& other) noexcept;
    MappedBuffer& operator=(MappedBuffer&& other) = delete;
    ~MappedBuffer();

    template <class T>
    T* as() const {
        return static_cast<T*>(data_);
    }

private:
    friend class Device;
    MappedBuffer() = default;
    std::shared_ptr<Device> device_;
    _cl_mem* handle_ = nullptr; ///< the buffer's, which lives on
    void* data_ = nullptr;
};

/// A compiled kernel. Owned by its Device and valid as long as the Device is.
class Kernel {
public:
    const std::string& name() const { return name_; }
    /// The largest work-group that the device runs this kernel with.
    size_t max_work_group() const { return max_work_group_; }

private:
    friend class Device;
    std::string name_;
    _cl_kernel* handle_ = nullptr;
    unsigned arguments_ = 0;
    size_t max_work_group_ = 0;
    uint64_t launches_ = 0;
    uint64_t nanoseconds_ = 0;
};

/// A kernel argument in local memory: its size in bytes.
struct LocalMemory {
    size_t bytes;
};

/// One OpenCL device: context, in-order queue, compiled programs. Made by open_devices and shared
/// by all that use the same device. Safe to use from several threads: every call takes the lock. A
/// child made by fork() can't use its parent's Device: every call throws there instead of hanging,
/// and nothing is released there. All errors are faiss::FaissException naming device and call.
///
/// Environment: VLC_OPENCL_PROFILE=1 measures kernels (launches then wait for their end).
class Device : public std::enable_shared_from_this<Device> {
public:
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const DeviceInfo& info() const;

    /// The kernel `name` of a program built with `options`, unless that was done before. Programs
    /// hold many kernels, as each costs half a second before its first kernel. The message of a
    /// failed build holds the start of the compiler's log.
    Kernel& kernel(const char* name, const std::string& options,
                   Program program = Program::kGeneral);

    /// `count` zeros of type T, the count rounded up to a multiple of 256 (the largest work-group);
    /// 16-byte aligned at least.
    template <class T>
    Buffer allocate(uint64_t count, const char* what) {
        return allocate_bytes(count, sizeof(T), what);
    }
    /// The part of a buffer from a byte on, which the device has to be able to align: a multiple of
    /// 512 does everywhere. Shares the memory.
    Buffer view(const Buffer& buffer, size_t offset);
    /// The host's memory as a buffer, without a copy: where the device is_this_cpu(). It has to
    /// outlive the buffer's use, and what the host writes meanwhile is seen or not.
    Buffer wrap(void* data, uint64_t bytes);
    /// Blocking transfers; `offset` in bytes into the buffer.
    void write(Buffer& buffer, const void* data, size_t bytes, size_t offset = 0);
    void read(const Buffer& buffer, void* data, size_t bytes, size_t offset = 0);
    /// All of a buffer, after what is enqueued. Costs nothing where the device's memory is the
    /// host's.
    MappedBuffer map(const Buffer& buffer);
    /// Memory for transfers; what it holds must not change or go before finish().
    HostMemory allocate_host(uint64_t bytes, const char* what);
    /// Enqueues transfers to and from it; offset into the host's memory.
    void send(const HostMemory& from, size_t offset, Buffer& to, size_t bytes,
              size_t to_offset = 0);
    void fetch(const Buffer& from, HostMemory& to, size_t offset, size_t bytes);
    /// Enqueues setting the first `bytes` (a multiple of 4) to a repeated 32-bit value.
    void fill(Buffer& buffer, int32_t value, size_t bytes);
    /// Enqueues a copy of the first `bytes`.
    void copy(const Buffer& from, Buffer& to, size_t bytes);
    void finish();

    /// Enqueues `kernel` over `items` (rounded up to whole work-groups; kernels check their bound).
    /// Arguments in the kernel's order: Buffer, LocalMemory, or a scalar or record (see
    /// search_records.h) of the exact type.
    template <class... Args>
    void launch(Kernel& kernel, size_t items, size_t work_group, const Args&... args) {
        const std::unique_lock<std::recursive_mutex> hold = lock();
        check_arguments(kernel, sizeof...(args));
        unsigned index = 0;
        (set_argument(kernel, index++, args), ...);
        enqueue(kernel, items, work_group);
    }

    /// For libraries that take a queue: hold the lock while using it.
    std::unique_lock<std::recursive_mutex> lock() const;
    _cl_command_queue* queue() const;
    /// Counts work that such a library did, as if a kernel `name` had been launched.
    void count_launch(const char* name);

    /// Launches by kernel name since the Device was made.
    std::map<std::string, uint64_t> launches() const;
    /// Seconds by kernel name; empty unless profiling is on.
    std::map<std::string, double> seconds() const;
    /// Buffers made so far (tests show that iterations make none).
    uint64_t allocations() const;

private:
    friend class Buffer;
    friend class HostMemory;
    friend class MappedBuffer;
    friend std::vector<std::shared_ptr<Device>> open_devices(const std::string& spec);
    struct State;
    explicit Device(std::unique_ptr<State> state);

    bool in_child() const noexcept;
    Buffer allocate_bytes(uint64_t count, uint64_t size, const char* what, bool on_host = false);
    void check(int code, const char* call, const char* what) const;
    void check_range(const Buffer& buffer, size_t offset, size_t bytes, const char* call) const;
    void check_arguments(const Kernel& kernel, unsigned given) const;
    void set_raw(Kernel& kernel, unsigned index, size_t size, const void* value);
    void set_argument(Kernel& kernel, unsigned index, const Buffer& buffer) {
        _cl_mem* handle = buffer.handle();
        set_raw(kernel, index, sizeof(handle), &handle); // NOLINT(bugprone-sizeof-expression)
    }
    void set_argument(Kernel& kernel, unsigned index, const LocalMemory& local) {
        set_raw(kernel, index, local.bytes, nullptr);
    }
    template <class T>
    void set_argument(Kernel& kernel, unsigned index, const T& value) {
        static_assert((std::is_arithmetic<T>::value && !std::is_same<T, bool>::value) ||
                              (std::is_class<T>::value && std::is_trivially_copyable<T>::value),
                      "kernel arguments are buffers, local memory, numbers or records of these");
        set_raw(kernel, index, sizeof(value), &value);
    }
    void enqueue(Kernel& kernel, size_t items, size_t work_group);

    std::unique_ptr<State> state_;
};

/// The devices that `spec` names:
///   auto                  the first GPU that works, else the first OpenCL CPU device, else none
///   reference             none: plain C++
///   opencl:<part>         the first device whose name holds <part>, upper and lower case alike
///   opencl-all[:<part>]   that device and all others of its kind (GPU, CPU) and platform whose
///                         names hold <part>
///   ""                    the environment variable VLC_DEVICE, else auto
/// Throws for other specs and for devices that aren't there (naming those that are) or don't work;
/// `auto` doesn't throw. In a process forked after its parent used OpenCL there are no devices.
std::vector<std::shared_ptr<Device>> open_devices(const std::string& spec = "");
/// The same for one device, or nullptr; throws for opencl-all.
std::shared_ptr<Device> open_device(const std::string& spec = "");

} // namespace faiss_vlc
