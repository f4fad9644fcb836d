// What a kernel asks of the driver that runs it. Kernels are compiled against this file, the driver defines it.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 {
    unsigned x, y, z;
};

// Kernels are compiled with checks of every access. What is marked so does its own.
#define EMULATE_UNCHECKED __attribute__((no_sanitize("kernel-address")))

// One parameter of a kernel, as its compiled form describes it.
struct EmulateParameter {
    size_t size;
    // Of what it points to; 0 where it is no pointer.
    size_t pointee;
    // Where the lengths of the buffers stand in it: CubeCL's `static_meta`. `lengths` is 0 where there are none.
    size_t lengths_at;
    size_t lengths;
    size_t length_size;
};

extern "C" {
// A thread is always asked for its own place, so the answer cannot change between two calls of it.
__attribute__((const)) uint3 emulate_thread();
__attribute__((const)) uint3 emulate_block();
__attribute__((const)) uint3 emulate_block_size();
__attribute__((const)) uint3 emulate_grid_size();
__attribute__((const)) unsigned emulate_lane();

// Wait for the threads of the block, and for those of the warp.
void emulate_block_barrier();
// `orders_memory` is false for what waits for the warp but promises nothing about its memory: a shuffle.
void emulate_warp_barrier(bool orders_memory);
// Lets the other threads run: for a loop that waits for one of them.
void emulate_yield();
// A barrier in memory has let its threads go.
void emulate_barrier_in_memory_passed();

// A word for the other lanes of the warp, and that of another one. Between them stands a barrier.
void emulate_give(uint64_t word);
uint64_t emulate_take(unsigned lane);
// The lanes of the warp that have not returned.
unsigned emulate_active();

// Checks an atomic access.
void emulate_atomic(const void *address, size_t size);
// Ends the run.
[[noreturn]] void emulate_unknown_instruction(const char *name);
// Checks an access by an instruction.
void emulate_load(const void *address, size_t size);
void emulate_store(void *address, size_t size);

// The block's shared memory.
extern unsigned char dynamic_shared_mem[];
}
