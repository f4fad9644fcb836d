// A kernel's CUDA C++ becomes a library: g++ compiles it, with a call before each access to memory.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "runtime.h"

extern char **environ;

static std::string read_file(const std::string &path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

static void write_file(const std::string &path, const std::string &text) {
    // Whole or not at all: another process may look for it.
    const std::string part = path + "." + std::to_string(getpid());
    std::ofstream(part) << text;
    rename(part.c_str(), path.c_str());
}

static bool exists(const std::string &path) { return access(path.c_str(), R_OK) == 0; }

static std::string hash(const std::string &text) {
    uint64_t value = 14695981039346656037ull;
    for (const unsigned char byte : text) value = (value ^ byte) * 1099511628211ull;
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)value);
    return digits;
}

static bool run_compiler(std::vector<std::string> arguments, const std::string &log) {
    std::vector<char *> pointers;
    for (std::string &argument : arguments) pointers.push_back(&argument[0]);
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    pid_t child;
    const int failed = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = 1;
    if (failed || waitpid(child, &status, 0) != child) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Splits at spaces: the flags that the headers were compiled with before.
static std::vector<std::string> split(const std::string &text) {
    std::istringstream words(text);
    std::vector<std::string> result;
    for (std::string word; words >> word;) result.push_back(word);
    return result;
}

// The file of this library. Whoever loaded it may keep its functions to himself, so each kernel names it.
static std::string this_library() {
    Dl_info info;
    return dladdr(reinterpret_cast<void *>(&this_library), &info) ? info.dli_fname : "libcuda.so";
}

// The library of a kernel, compiled or kept from an earlier run.
static std::string library(const std::string &source, const std::string &name) {
    const std::string folder = setting("EMULATE_DIR"), include = std::string(setting("EMULATE_INCLUDE"));
    const std::string whole = without_assembly(source, read_file(include + "/ptx.h")) + "\nEMULATE_ENTRY(" + name + ")\n";
    const std::string base = std::string(setting("EMULATE_CACHE")) + "/" + hash(whole);
    if (exists(base + ".so")) return base + ".so";
    write_file(base + ".cpp", whole);
    const std::string part = base + "." + std::to_string(getpid()) + ".so";
    std::vector<std::string> arguments = split(setting("EMULATE_COMPILE"));
    for (const std::string &more :
         // Kernels use nothing of the C++ library, and to link it takes half of the time.
         {std::string("-shared"), std::string("-nodefaultlibs"), "-I" + include, base + ".cpp", std::string("-o"), part,
          this_library(), std::string("-lm"), std::string("-lc")})
        arguments.push_back(more);
    if (!run_compiler(arguments, base + ".log")) {
        std::string first = read_file(base + ".log");
        const size_t error = first.find("error: ");
        if (error != std::string::npos) first = first.substr(error + 7, first.find('\n', error) - error - 7);
        find(name + " compile", "kernel " + name + " cannot be emulated: " + first + " (" + base + ".log)");
        return "";
    }
    rename(part.c_str(), (base + ".so").c_str());
    return base + ".so";
}

extern "C" {

// What NVRTC's stand-in hands on is the source.
Result cuModuleLoadData(void **module, const void *image) {
    *module = new std::string(static_cast<const char *>(image));
    return SUCCESS;
}
Result cuModuleUnload(void *module) {
    delete static_cast<std::string *>(module);
    return SUCCESS;
}

Result cuModuleGetFunction(void **function, void *module, const char *name) {
    const std::string &source = *static_cast<std::string *>(module);
    // For a real compiler, should there be one.
    write_file(std::string(setting("EMULATE_DIR")) + "/kernels/" + hash(source) + ".cu", source);
    const std::string path = library(source, name);
    if (path.empty()) return INVALID_IMAGE;
    void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        find(std::string(name) + " load", "kernel " + std::string(name) + " cannot be emulated: " + dlerror());
        return INVALID_IMAGE;
    }
    Kernel *kernel = new Kernel;
    kernel->name = name;
    kernel->has_shapes = source.find("__restrict__ dynamic_meta") != std::string::npos;
    kernel->call = reinterpret_cast<void (*)(void **)>(dlsym(handle, "emulate_call"));
    const auto describe = reinterpret_cast<size_t (*)(EmulateParameter *, size_t)>(dlsym(handle, "emulate_describe"));
    const auto image = reinterpret_cast<void (*)(const char **, const char **)>(dlsym(handle, "emulate_image"));
    kernel->parameters.resize(256);
    kernel->parameters.resize(describe(kernel->parameters.data(), kernel->parameters.size()));
    const char *start, *end;
    image(&start, &end);
    kernel->image = {reinterpret_cast<uintptr_t>(start), reinterpret_cast<uintptr_t>(end)};
    count_kernel();
    *function = kernel;
    return SUCCESS;
}

Result cuFuncSetAttribute(void *, int, int) { return SUCCESS; }
Result cuFuncGetAttribute(int *value, int, void *) {
    *value = 64;
    return SUCCESS;
}
}
