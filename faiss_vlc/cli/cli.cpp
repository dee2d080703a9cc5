// The command `vlc`: what is common to its subcommands. Each of these has a file of its own.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include <faiss/impl/AuxIndexStructures.h>
#include <omp.h>

#include <faiss_vlc/cli/cli.h>
#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/error.h>

namespace faiss_vlc::cli {

namespace {

volatile sig_atomic_t stop_signal = 0;

extern "C" void remember_signal(int signal) {
    stop_signal = signal;
}

/// SIGBUS: nothing can go on, but the user learns why.
extern "C" void say_what_is_gone(int) {
    constexpr char kText[] =
            "vlc: a mapped file was cut or cannot be read any more: files must not "
            "change in place while they are used\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
    _exit(1);
}

/// Lets long loops end with an exception, so that temporary files are removed.
class StopOnSignal : public faiss::InterruptCallback {
public:
    bool want_interrupt() override { return stop_signal != 0; }
};

void catch_signals() {
    struct sigaction action = {};
    action.sa_handler = remember_signal;
    action.sa_flags = int(SA_RESTART | SA_RESETHAND); // the second one kills at once
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction old = {};
        if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(signal, &action, nullptr);
        }
    }
    action.sa_handler = say_what_is_gone;
    sigaction(SIGBUS, &action, nullptr);
    faiss::InterruptCallback::instance = std::make_unique<StopOnSignal>();
}

/// While it lives, what is printed to stdout goes to stderr.
class StdoutToStderr {
public:
    StdoutToStderr() {
        fflush(stdout);
        saved_ = dup(STDOUT_FILENO);
        if (saved_ < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
            fail("cannot redirect stdout");
        }
    }
    ~StdoutToStderr() {
        fflush(stdout);
        dup2(saved_, STDOUT_FILENO);
        close(saved_);
    }
    StdoutToStderr(const StdoutToStderr&) = delete;
    StdoutToStderr& operator=(const StdoutToStderr&) = delete;

    /// A name of what stdout was.
    std::string name() const { return "/dev/fd/" + std::to_string(saved_); }

private:
    int saved_;
};

/// Does the path lead into the same pipe as stdout?
bool leads_to_stdout(const std::string& path) {
    struct stat file = {}, out = {};
    return stat(path.c_str(), &file) == 0 && fstat(STDOUT_FILENO, &out) == 0 &&
           S_ISFIFO(file.st_mode) && file.st_dev == out.st_dev && file.st_ino == out.st_ino;
}

/// Of a job's files the one that is stdout, or null.
std::string* stdout_among(const Job& job) {
    std::string* found = nullptr;
    for (std::string* path : job.outputs) {
        const bool named = descriptor_of(*path) == STDOUT_FILENO;
        if (!named && leads_to_stdout(*path)) {
            fail("%s is stdout: call it /dev/stdout", path->c_str());
        }
        if (named && found) {
            fail("expected one file at most that is stdout, got two");
        }
        found = named ? path : found;
    }
    return found;
}

/// Runs a job that writes a file to stdout: all text goes to stderr.
void run_into_stdout(const Job& job, std::string& path) {
    const StdoutToStderr redirected;
    const std::string shown = path;
    path = redirected.name();
    Json result = job.run();
    for (auto& item : result.items()) {
        if (item.value() == path) {
            item.value() = shown;
        }
    }
    if (job.json) {
        printf("%s\n", result.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    } else {
        job.print(result);
    }
}

void run(const Job& job) {
    simd(); // a wrong VLC_SIMD is no fault of a file's
    if (job.threads > 0) {
        omp_set_num_threads(job.threads);
        // PoCL has threads of its own.
        setenv("POCL_MAX_PTHREAD_COUNT", std::to_string(job.threads).c_str(), 0);
    }
    if (std::string* path = stdout_among(job)) {
        run_into_stdout(job, *path);
        return;
    }
    Json result;
    if (job.json) {
        const StdoutToStderr redirected;
        result = job.run();
    } else {
        result = job.run();
    }
    if (job.json) {
        const std::string text = result.dump(2, ' ', false, Json::error_handler_t::replace);
        printf("%s\n", text.c_str());
    } else {
        job.print(result);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail("cannot write to stdout");
    }
}

int fail_with(std::string message, int code) {
    for (char& c : message) {
        c = c == '\n' ? ' ' : c;
    }
    fprintf(stderr, "vlc: %s\n", message.c_str());
    return code;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"Compresses vectors with Vector-Lattice Compression, and searches them.\n\n"
                 "Files of vectors go by their extension: .fvecs .bvecs .ivecs, .npy (float32,\n"
                 "float16, float64, bool, integers of 8 or 16 bits), .hdf5 .h5 (ann-benchmarks\n"
                 "layout); any other holds raw rows and needs --dtype, and --d where no index\n"
                 "says it.\n\n"
                 "Exit status: 0, 1 after an error, 2 if the arguments are wrong.",
                 "vlc"};
    app.set_version_flag("--version", "vlc " FAISS_VLC_VERSION);
    app.require_subcommand(1);
    app.get_formatter()->column_width(32);
    Job job;
    add_index_command(app, job);
    add_eval_command(app, job);
    add_search_command(app, job);
    add_decode_command(app, job);
    add_info_command(app, job);
    add_verify_command(app, job);

    try {
        for (int i = 1; i < argc; i++) {
            if (!*argv[i]) { // CLI11 2.1 takes for ever over some
                return fail_with("argument " + std::to_string(i) + " is empty (see vlc --help)", 2);
            }
        }
        app.parse(argc, argv);
        catch_signals();
        run(job);
        return 0;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return app.exit(error); // --help, --version
        }
        return fail_with(std::string(error.what()) + " (see vlc --help)", 2);
    } catch (const std::bad_alloc&) {
        return fail_with("out of memory", 1);
    } catch (const std::exception& error) {
        if (stop_signal != 0) {
            fail_with("interrupted", 1);
            signal(stop_signal, SIG_DFL);
            raise(stop_signal);
        }
        return fail_with(error.what(), 1);
    }
}

} // namespace faiss_vlc::cli

int main(int argc, char** argv) {
    return faiss_vlc::cli::main(argc, argv);
}
