// Runs one kernel from a file through the stand-ins, for the tests of them:
//     try_kernel FILE BLOCKS THREADS SHARED ELEMENTS
// The kernel is named `subject` and takes `const float *input`, `float *output` and CubeCL's info. Input is
// 0, 1, 2 and so on; the output is printed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
int cuInit(unsigned);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemcpyHtoD_v2(uint64_t, const void *, size_t);
int cuMemcpyDtoH_v2(void *, uint64_t, size_t);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int cuCtxSynchronize();
int nvrtcCreateProgram(void **, const char *, const char *, int, const char *const *, const char *const *);
int nvrtcCompileProgram(void *, int, const char *const *);
int nvrtcGetPTXSize(void *, size_t *);
int nvrtcGetPTX(void *, char *);
}

static void check(int result, const char *what) {
    if (result == 0) return;
    printf("%s gives %d\n", what, result);
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 6) return 2;
    std::ifstream file(arguments[1]);
    std::stringstream source;
    source << file.rdbuf();
    const unsigned blocks = unsigned(atoi(arguments[2])), threads = unsigned(atoi(arguments[3]));
    const unsigned shared = unsigned(atoi(arguments[4])), elements = unsigned(atoi(arguments[5]));

    void *program, *module, *kernel;
    check(nvrtcCreateProgram(&program, source.str().c_str(), nullptr, 0, nullptr, nullptr), "nvrtcCreateProgram");
    check(nvrtcCompileProgram(program, 0, nullptr), "nvrtcCompileProgram");
    size_t size;
    check(nvrtcGetPTXSize(program, &size), "nvrtcGetPTXSize");
    std::vector<char> ptx(size);
    check(nvrtcGetPTX(program, ptx.data()), "nvrtcGetPTX");
    check(cuInit(0), "cuInit");
    check(cuModuleLoadData(&module, ptx.data()), "cuModuleLoadData");
    check(cuModuleGetFunction(&kernel, module, "subject"), "cuModuleGetFunction");

    // One allocation for both, as CubeCL's memory management cuts it.
    std::vector<float> numbers(3 * elements);
    for (unsigned i = 0; i < numbers.size(); i++) numbers[i] = float(i);
    uint64_t memory;
    check(cuMemAlloc_v2(&memory, numbers.size() * 4), "cuMemAlloc");
    check(cuMemcpyHtoD_v2(memory, numbers.data(), numbers.size() * 4), "cuMemcpyHtoD");
    uint64_t input = memory, output = memory + 2 * elements * 4;
    uint32_t info[4] = {elements, elements, elements, elements};
    void *values[] = {&input, &output, info};
    check(cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, shared, nullptr, values, nullptr), "cuLaunchKernel");
    check(cuCtxSynchronize(), "cuCtxSynchronize");
    check(cuMemcpyDtoH_v2(numbers.data(), output, elements * 4), "cuMemcpyDtoH");
    for (unsigned i = 0; i < elements; i++) printf("%.9g\n", double(numbers[i]));
    return 0;
}
