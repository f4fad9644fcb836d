// What the parts of the driver know of each other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "emulate.h"

// What cuda.h calls CUresult and CUdeviceptr.
typedef int Result;
typedef uint64_t DevicePointer;
const Result SUCCESS = 0;
const Result INVALID_VALUE = 1;
const Result OUT_OF_MEMORY = 2;
const Result INVALID_IMAGE = 200;

struct Range {
    uintptr_t start, end;
    bool holds(uintptr_t address, size_t size) const { return address >= start && address + size <= end; }
    bool empty() const { return start == end; }
};

// ---- findings.cpp

// A setting of the program that started this one; a missing one stops it.
const char *setting(const char *name);
// Writes down what is wrong with a kernel, once for each `key`.
void find(const std::string &key, const std::string &sentence);
// The same for what no kernel can go on after: ends the process.
[[noreturn]] void stop(const std::string &sentence);
void count_kernel();
void count_launch();

// ---- memory.cpp

// The live allocation that holds the address, or an empty range.
Range allocation_at(uintptr_t address);
// The same with the room around it, in which an access does no harm.
Range room_at(uintptr_t address);
// What is kept of the writes to the byte at the address, of a live allocation, and those behind it.
struct Written;
Written *written_at(uintptr_t address);

// ---- queue.cpp: what was asked for is done in order, beside the thread that asks

void enqueue(std::function<void()> work);
// Waits until all of it is done.
void drain();

// ---- module.cpp

struct Kernel {
    std::string name;
    std::vector<EmulateParameter> parameters;
    // The last of the pointers is CubeCL's table of shapes and no buffer.
    bool has_shapes = false;
    Range image = {};
    void (*call)(void **) = nullptr;
    // Races of it that are known: see checks.cpp.
    mutable unsigned reported = 0;
};

// ---- fibers.cpp

// Starts a fiber that calls `body` and then `done`, which must not return.
struct Fiber {
    void *stack_pointer = nullptr;
    char *stack = nullptr;
};
const size_t STACK_SIZE = 256 << 10;
void fiber_prepare(Fiber &fiber, void (*body)());
void fiber_release(Fiber &fiber);
// Goes on with a fiber until it calls `fiber_back`.
void fiber_run(Fiber &fiber);
void fiber_back();

// ---- block.cpp

struct Shape {
    uint3 grid, block;
    unsigned shared_size;
};
void run_blocks(const Kernel &kernel, void **values, const Shape &shape);
// The thread that runs, counted within its block.
unsigned current_thread();
// Its place in block and grid.
std::string place_of(unsigned thread);
// All other threads that can run have their turn before this call returns.
void let_others_go_on();

// ---- checks.cpp

// The last write of four bytes of device memory.
struct Written {
    // When: see `checks_block_met`.
    uint32_t met;
    uint16_t thread;
    // Which of the four bytes.
    uint8_t bytes;
    bool atomic;
};
struct Argument {
    Range range;
    unsigned number;
    // Of the first of its bytes; null where nothing is kept.
    Written *written;
};
// What the kernel that starts may touch.
void checks_begin(const Kernel &kernel, std::vector<Argument> arguments, unsigned shared_size);
void checks_end();
// The running thread may touch its own stack.
void checks_on_stack(const char *stack);
// A block begins; all threads of the block have met, or those of a warp.
void checks_block_begins();
void checks_block_met();
void checks_warp_met(unsigned warp);

// ---- source.cpp

// CUDA C++ with calls in the place of its inline assembly.
std::string without_assembly(const std::string &source, const std::string &known);
