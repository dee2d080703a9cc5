// Arguments of the command, one a line, in a folder with a few small files. Nothing outside it is
// named, and what would merely take long is left out.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <tests/fuzz/fuzz.h>

#define main command_main
#include <faiss_vlc/cli/cli.cpp>
#undef main

namespace {

bool is_left_out(const std::string& argument) {
    int digits = 0;
    for (const char c : argument) {
        digits = c >= '0' && c <= '9' ? digits + 1 : 0;
        if (c == '/' || c == '\0' || digits > 3 || (c == 'e' && digits > 0)) {
            return true;
        }
    }
    return argument.find("..") != argument.npos || argument.find("opencl") != argument.npos;
}

void write_file(const char* name, const void* data, size_t size) {
    FILE* file = fopen(name, "wb");
    fwrite(data, 1, size, file);
    fclose(file);
}

} // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    setenv("VLC_DEVICE", "reference", 1);
    std::string folder = "/dev/shm/vlc_fuzz_cli_XXXXXX";
    if (!mkdtemp(folder.data()) || chdir(folder.c_str()) != 0) {
        abort();
    }
    if (!freopen("/dev/null", "w", stdout)) {
        abort();
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
    std::vector<std::string> arguments = {"vlc"};
    for (std::string line; std::getline(lines, line);) {
        if (is_left_out(line) || arguments.size() > 40) {
            return 0;
        }
        arguments.push_back(line);
    }
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
        pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);
    for (const auto& entry : std::filesystem::directory_iterator(".")) {
        std::filesystem::remove_all(entry.path());
    }
    std::vector<float> rows;
    for (int i = 0; i < 40; i++) {
        const int d = 4;
        float value;
        std::memcpy(&value, &d, 4);
        rows.push_back(value);
        for (int k = 0; k < d; k++) {
            rows.push_back(float((i * 7 + k * 3) % 11));
        }
    }
    write_file("a.fvecs", rows.data(), rows.size() * 4);
    faiss_vlc::cli::command_main(int(arguments.size()), pointers.data());
    return 0;
}
