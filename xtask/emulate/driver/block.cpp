// Runs the blocks of a kernel one after another, and lets the threads of a block take turns.
#include <deque>

#include "runtime.h"

namespace {

enum class State { Ready, AtBlockBarrier, AtWarpBarrier, Done };

struct Thread {
    Fiber fiber;
    State state;
    uint3 place;
    bool orders_memory;
};

struct Warp {
    unsigned alive, waiting;
};

const Kernel *kernel;
void **values;
Shape shape;
uint3 block;
unsigned count;
std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<uint64_t> words;
std::deque<unsigned> ready;
unsigned alive, waiting;
unsigned now;
// Turns in which nobody did anything but wait for memory to change.
unsigned long idle;
// The thread that gives way is not waiting for anything.
bool gives_way;

void release_warp(unsigned warp) {
    const unsigned end = (warp + 1) * 32 < count ? (warp + 1) * 32 : count;
    bool orders_memory = false;
    for (unsigned thread = warp * 32; thread < end; thread++)
        if (threads[thread].state == State::AtWarpBarrier) {
            threads[thread].state = State::Ready;
            orders_memory |= threads[thread].orders_memory;
            ready.push_back(thread);
        }
    warps[warp].waiting = 0;
    if (orders_memory) checks_warp_met(warp);
}

void release_block() {
    for (unsigned thread = 0; thread < count; thread++)
        if (threads[thread].state == State::AtBlockBarrier) {
            threads[thread].state = State::Ready;
            ready.push_back(thread);
        }
    waiting = 0;
    checks_block_met();
}

void release_if_met(unsigned warp) {
    if (warps[warp].alive > 0 && warps[warp].waiting == warps[warp].alive) release_warp(warp);
    if (alive > 0 && waiting == alive) release_block();
}

void wait(State state) {
    threads[now].state = state;
    fiber_back();
}

void body() {
    kernel->call(values);
    threads[now].state = State::Done;
    fiber_back();
}

void turn(unsigned thread) {
    now = thread;
    Thread &it = threads[thread];
    checks_on_stack(it.fiber.stack);
    fiber_run(it.fiber);
    Warp &warp = warps[thread / 32];
    switch (it.state) {
        case State::Ready: // it yielded
            ready.push_back(thread);
            if (gives_way) idle = 0;
            gives_way = false;
            if (++idle > 1000000)
                stop("kernel " + kernel->name + ": " + place_of(now) + " waits for a barrier in memory for ever");
            return;
        case State::AtBlockBarrier: waiting++; break;
        case State::AtWarpBarrier: warp.waiting++; break;
        case State::Done:
            fiber_release(it.fiber);
            warp.alive--;
            alive--;
            break;
    }
    idle = 0;
    release_if_met(thread / 32);
}

void run_block() {
    alive = count;
    waiting = 0;
    idle = 0;
    for (unsigned warp = 0; warp < warps.size(); warp++) {
        const unsigned left = count - warp * 32;
        warps[warp] = {left < 32 ? left : 32, 0};
    }
    checks_block_begins();
    for (unsigned thread = 0; thread < count; thread++) threads[thread].state = State::Ready;
    for (unsigned thread = 0; thread < count; thread++) {
        fiber_prepare(threads[thread].fiber, body);
        turn(thread);
    }
    while (!ready.empty()) {
        const unsigned thread = ready.front();
        ready.pop_front();
        turn(thread);
    }
    checks_end();
    if (alive == 0) return;
    unsigned at_block = 0, at_warp = 0;
    for (unsigned thread = 0; thread < count; thread++) {
        at_block += threads[thread].state == State::AtBlockBarrier;
        at_warp += threads[thread].state == State::AtWarpBarrier;
    }
    stop("kernel " + kernel->name + ": " + std::to_string(at_block) + " threads of a block wait for the block and " +
         std::to_string(at_warp) + " for their warp, for ever");
}

}  // namespace

void run_blocks(const Kernel &what, void **with, const Shape &how) {
    kernel = &what;
    values = with;
    shape = how;
    count = shape.block.x * shape.block.y * shape.block.z;
    if (threads.size() < count) threads.resize(count);
    warps.resize((count + 31) / 32);
    words.resize(warps.size() * 32);
    for (unsigned thread = 0; thread < count; thread++)
        threads[thread].place = {thread % shape.block.x, thread / shape.block.x % shape.block.y,
                                 thread / (shape.block.x * shape.block.y)};
    for (block.z = 0; block.z < shape.grid.z; block.z++)
        for (block.y = 0; block.y < shape.grid.y; block.y++)
            for (block.x = 0; block.x < shape.grid.x; block.x++) run_block();
}

unsigned current_thread() { return now; }

void let_others_go_on() {
    gives_way = true;
    wait(State::Ready);
}

std::string place_of(unsigned thread) {
    const auto text = [](uint3 at) {
        return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
    };
    return "thread " + text(threads[thread].place) + " of block " + text(block);
}

extern "C" {
uint3 emulate_thread() { return threads[now].place; }
uint3 emulate_block() { return block; }
uint3 emulate_block_size() { return shape.block; }
uint3 emulate_grid_size() { return shape.grid; }
unsigned emulate_lane() { return now % 32; }

void emulate_block_barrier() { wait(State::AtBlockBarrier); }
void emulate_warp_barrier(bool orders_memory) {
    threads[now].orders_memory = orders_memory;
    wait(State::AtWarpBarrier);
}
void emulate_yield() { wait(State::Ready); }
void emulate_barrier_in_memory_passed() {
    idle = 0;
    checks_block_met();
}

void emulate_give(uint64_t word) { words[now] = word; }
uint64_t emulate_take(unsigned lane) { return words[now / 32 * 32 + lane]; }
unsigned emulate_active() {
    unsigned result = 0;
    const unsigned first = now / 32 * 32;
    for (unsigned lane = 0; lane < 32 && first + lane < count; lane++)
        if (threads[first + lane].state != State::Done) result |= 1u << lane;
    return result;
}
}
