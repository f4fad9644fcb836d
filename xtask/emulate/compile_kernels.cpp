// Has the real NVRTC compile kernels:
//     compile_kernels LIBRARY INCLUDE[:INCLUDE...] ARCHITECTURE FILE...
// Prints "accepted" or "refused FILE: NVRTC's log" for each, with a record separator behind it.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

static void *library;

template <class F> static F function(const char *name) {
    F found = reinterpret_cast<F>(dlsym(library, name));
    if (found) return found;
    fprintf(stderr, "%s is missing\n", name);
    exit(1);
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    library = dlopen(arguments[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    typedef void *Program;
    const auto create = function<int (*)(Program *, const char *, const char *, int, void *, void *)>("nvrtcCreateProgram");
    const auto compile = function<int (*)(Program, int, const char *const *)>("nvrtcCompileProgram");
    const auto log_size = function<int (*)(Program, size_t *)>("nvrtcGetProgramLogSize");
    const auto log = function<int (*)(Program, char *)>("nvrtcGetProgramLog");
    const auto destroy = function<int (*)(Program *)>("nvrtcDestroyProgram");

    // The options that CubeCL gives, which has all headers in one folder and those of CCCL below it.
    std::vector<std::string> texts = {std::string("--gpu-architecture=") + arguments[3], "-lineinfo"};
    std::stringstream folders(arguments[2]);
    for (std::string folder; std::getline(folders, folder, ':');) {
        texts.push_back("--include-path=" + folder);
        texts.push_back("--include-path=" + folder + "/cccl");
    }
    std::vector<const char *> options;
    for (const std::string &text : texts) options.push_back(text.c_str());
    for (int i = 4; i < count; i++) {
        std::ifstream file(arguments[i]);
        std::stringstream source;
        source << file.rdbuf();
        Program program;
        if (create(&program, source.str().c_str(), nullptr, 0, nullptr, nullptr)) return 1;
        if (compile(program, int(options.size()), options.data()) == 0) {
            printf("accepted\x1e\n");
        } else {
            size_t size = 0;
            log_size(program, &size);
            std::vector<char> text(size + 1);
            log(program, text.data());
            printf("refused %s: %s\x1e\n", arguments[i], text.data());
        }
        destroy(&program);
    }
    return 0;
}
