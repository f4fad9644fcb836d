// A thread of a kernel is a fiber: it has a stack, and gives way only where it waits.
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <vector>

#include "runtime.h"

// Stacks of fibers that are done, the last one first: its memory is in the cache.
static std::vector<char *> free_stacks;

static char *take_stack() {
    if (!free_stacks.empty()) {
        char *stack = free_stacks.back();
        free_stacks.pop_back();
        return stack;
    }
    // A page below that faults: a stack that overflows ends the process rather than another stack.
    const size_t page = 4096;
    void *memory = mmap(nullptr, STACK_SIZE + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) stop("there is no memory for the stack of a thread");
    mprotect(memory, page, PROT_NONE);
    return static_cast<char *>(memory) + page;
}

void fiber_release(Fiber &fiber) {
    free_stacks.push_back(fiber.stack);
    fiber.stack = nullptr;
}

static Fiber *running;

#ifdef __x86_64__

// Saves what a call must keep, and goes on where another fiber saved it. swapcontext does the same and calls
// the kernel for it, twice each time.
extern "C" void emulate_switch(void **save, void *resume);
asm(R"(
    .text
    .globl emulate_switch
    .hidden emulate_switch
    .type emulate_switch, @function
emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulate_switch, .-emulate_switch
)");

static void *home;

void fiber_prepare(Fiber &fiber, void (*body)()) {
    if (!fiber.stack) fiber.stack = take_stack();
    void **top = reinterpret_cast<void **>(fiber.stack + STACK_SIZE);
    // As if `body` had been called: above it lies what it would return to, below it six saved registers.
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(body);
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    fiber.stack_pointer = top;
}

void fiber_run(Fiber &fiber) {
    running = &fiber;
    emulate_switch(&home, fiber.stack_pointer);
}

void fiber_back() { emulate_switch(&running->stack_pointer, home); }

#else

static ucontext_t home;

void fiber_prepare(Fiber &fiber, void (*body)()) {
    if (!fiber.stack) fiber.stack = take_stack();
    if (!fiber.stack_pointer) fiber.stack_pointer = new ucontext_t;
    ucontext_t &context = *static_cast<ucontext_t *>(fiber.stack_pointer);
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack;
    context.uc_stack.ss_size = STACK_SIZE;
    makecontext(&context, body, 0);
}

void fiber_run(Fiber &fiber) {
    running = &fiber;
    swapcontext(&home, static_cast<ucontext_t *>(fiber.stack_pointer));
}

void fiber_back() { swapcontext(static_cast<ucontext_t *>(running->stack_pointer), &home); }

#endif
