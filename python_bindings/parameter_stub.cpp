// Makes the package's stub: parameter_stub <__init__.pyi.in> <__init__.pyi>. It needs no FAISS, as
// pip builds the package where there may be none to run.

#include <python_bindings/parameter_stub.h>

#include <cstdio>
#include <fstream>
#include <sstream>

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: parameter_stub <template> <stub>\n");
        return 2;
    }
    std::ifstream in(argv[1]);
    std::stringstream text;
    text << in.rdbuf();
    std::ofstream out(argv[2]);
    out << faiss_vlc::stub::filled(text.str());
    out.close();
    if (!in || !out) {
        fprintf(stderr, "parameter_stub: %s cannot be read or %s not be written\n", argv[1],
                argv[2]);
        return 1;
    }
    return 0;
}
