#include <opencl/hopper.h>

#include <string>

namespace faiss_vlc {

cl::Program build_for_hopper(const cl::Context& context, const cl::Device& device,
                             const cl::Program& built) {
    const cl::Program::Binaries binaries = built.getInfo<CL_PROGRAM_BINARIES>();
    std::string ptx;
    if (!binaries.empty()) {
        ptx.assign(binaries[0].begin(), binaries[0].end());
    }
    const std::string target = ".target sm_90";
    const std::string hidden = "//@";
    const size_t target_at = ptx.find(target);
    if (target_at == std::string::npos || ptx.find(hidden) == std::string::npos) {
        throw cl::Error(CL_INVALID_BINARY, "reading the compiler's PTX");
    }
    if (ptx[target_at + target.size()] != 'a') {
        ptx.insert(target_at + target.size(), 1, 'a');
    }
    std::string shown;
    shown.reserve(ptx.size());
    size_t from = 0;
    for (size_t at; (at = ptx.find(hidden, from)) != std::string::npos; from = at + hidden.size()) {
        shown.append(ptx, from, at - from);
    }
    shown.append(ptx, from);
    cl::Program program(context, {device},
                        {cl::Program::Binaries::value_type(shown.begin(), shown.end())});
    program.build("");
    return program;
}

} // namespace faiss_vlc
