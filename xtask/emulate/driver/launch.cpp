// Takes down a kernel's arguments, says which memory they give it, and has it run.
#include <cstring>
#include <memory>

#include "runtime.h"

namespace {

// The values of the parameters, which the caller only keeps until its call returns.
struct Values {
    std::vector<std::vector<uint64_t>> bytes;
    std::vector<void *> pointers;

    Values(const Kernel &kernel, void **from) {
        for (size_t i = 0; i < kernel.parameters.size(); i++) {
            const size_t size = kernel.parameters[i].size;
            bytes.emplace_back((size + 7) / 8);
            memcpy(bytes.back().data(), from[i], size);
        }
        for (auto &value : bytes) pointers.push_back(value.data());
    }
    uintptr_t pointer(size_t index) const { return uintptr_t(bytes[index][0]); }
};

uint64_t length(const EmulateParameter &info, const void *value, size_t index) {
    const char *at = static_cast<const char *>(value) + info.lengths_at + index * info.length_size;
    if (info.length_size == 8) {
        uint64_t result;
        memcpy(&result, at, 8);
        return result;
    }
    uint32_t result;
    memcpy(&result, at, 4);
    return result;
}

// CubeCL cuts many tensors from one allocation, and says to its kernels how long each is.
std::vector<Argument> arguments(const Kernel &kernel, const Values &values) {
    std::vector<size_t> pointers;
    size_t info = kernel.parameters.size();
    for (size_t i = 0; i < kernel.parameters.size(); i++) {
        if (kernel.parameters[i].pointee) pointers.push_back(i);
        if (kernel.parameters[i].lengths) info = i;
    }
    std::vector<Argument> result;
    for (size_t number = 0; number < pointers.size(); number++) {
        const size_t index = pointers[number];
        const uintptr_t start = values.pointer(index);
        const Range whole = allocation_at(start);
        Range range = {start, whole.empty() ? start : whole.end};
        const bool is_shapes = kernel.has_shapes && number + 1 == pointers.size();
        if (!is_shapes && info < kernel.parameters.size() && number < kernel.parameters[info].lengths) {
            const uint64_t count = length(kernel.parameters[info], values.pointers[info], number);
            const uint64_t end = start + count * kernel.parameters[index].pointee;
            if (end > range.end)
                find(kernel.name + " length", "kernel " + kernel.name + ": buffer " + std::to_string(number) +
                                                  " is said to be longer than its allocation");
            else
                range.end = end;
        }
        // A pointer that four does not divide has no words of its own.
        result.push_back({range, unsigned(number), start % 4 == 0 ? written_at(start) : nullptr});
    }
    return result;
}

void launch(const Kernel &kernel, Values &values, const Shape &shape) {
    checks_begin(kernel, arguments(kernel, values), shape.shared_size);
    run_blocks(kernel, values.pointers.data(), shape);
}

}  // namespace

extern "C" {

Result cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_size, void *, void **values, void **) {
    const Kernel *kernel = static_cast<const Kernel *>(function);
    const Shape shape = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_size};
    const uint64_t threads = uint64_t(block_x) * block_y * block_z;
    if (threads == 0 || threads > 1024 || shared_size > (256 << 10)) return INVALID_VALUE;
    count_launch();
    auto copy = std::make_shared<Values>(*kernel, values);
    enqueue([kernel, copy, shape] { launch(*kernel, *copy, shape); });
    return SUCCESS;
}

// CUlaunchConfig of cuda.h.
struct Configuration {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_size;
    void *stream, *attributes;
    unsigned attribute_count;
};
Result cuLaunchKernelEx(const Configuration *how, void *function, void **values, void **) {
    return cuLaunchKernel(function, how->grid_x, how->grid_y, how->grid_z, how->block_x, how->block_y, how->block_z,
                          how->shared_size, how->stream, values, nullptr);
}

void emulate_unknown_instruction(const char *name) {
    stop("a kernel executes the instruction " + std::string(name) + ", which the emulation does not know");
}
}
