// Every access of a kernel's thread comes by here: g++ -fsanitize=kernel-address calls these functions before
// each load and store. Is it within a buffer? In shared memory: is there a barrier between it and what another
// thread did?
#include <cstdio>
#include <cstring>

#include "runtime.h"

// As much as a block can ask for.
static const size_t SHARED_SIZE = 256 << 10;

extern "C" {
alignas(1024) unsigned char dynamic_shared_mem[SHARED_SIZE];
}

namespace {

// The last write and the last reads of four bytes of shared memory. `met` counts the meetings of a block, and
// `warp_met` those of a warp: what happened before the last meeting is in order with what comes now.
struct Access {
    uint32_t met = 0;
    uint32_t warp_met = 0;
    uint16_t thread = 0;
    // Which of the four bytes.
    uint8_t bytes = 0;
};
struct Word {
    Access write, read;
    bool atomic = false;
    // Other threads than the last one have read since the warp met, and other warps since the block did.
    bool read_by_lanes = false;
    bool read_by_warps = false;
};

const Kernel *kernel;
std::vector<Argument> arguments;
size_t last_argument;
Range image;
uintptr_t shared_end;
uintptr_t stack_start;

Word words[SHARED_SIZE / 4];
uint32_t met = 1;
uint32_t warp_met[32];
// What `met` was when the kernel and when the block began.
uint32_t kernel_met, block_met;

const uintptr_t SHARED_START = reinterpret_cast<uintptr_t>(dynamic_shared_mem);

enum class Kind { Read, Write, Atomic };

// What each thread last did to shared memory.
struct Step {
    uint32_t met, warp_met;
    bool read;
};
Step steps[1024];

std::string verb(Kind kind) { return kind == Kind::Read ? "reads" : kind == Kind::Write ? "writes" : "changes"; }

std::string hexadecimal(uintptr_t address) {
    char text[32];
    snprintf(text, sizeof text, "0x%lx", (unsigned long)(address));
    return text;
}

std::string describe(Kind kind, uintptr_t address, size_t size, unsigned thread = current_thread()) {
    return "kernel " + kernel->name + ": " + place_of(thread) + " " + verb(kind) + " " + std::to_string(size) +
           " bytes at " + hexadecimal(address);
}

std::string beside(uintptr_t address, size_t size, const Range &range) {
    const std::string bytes = " of " + std::to_string(range.end - range.start) + " bytes";
    if (address + size > range.end && address >= range.start)
        return std::to_string(address + size - range.end) + " bytes past the end of {}" + bytes;
    return std::to_string(range.start - address) + " bytes before the start of {}" + bytes;
}

std::string named(std::string text, const std::string &name) {
    return text.replace(text.find("{}"), 2, name);
}

__attribute__((noinline)) void outside_shared(Kind kind, uintptr_t address, size_t size) {
    find(kernel->name + " shared", describe(kind, address, size) + ", " +
                                       named(beside(address, size, {SHARED_START, shared_end}), "shared memory"));
}

__attribute__((noinline)) void outside(Kind kind, uintptr_t address, size_t size) {
    // The buffer that is the nearest.
    const Argument *nearest = nullptr;
    uintptr_t least = UINTPTR_MAX;
    for (const Argument &argument : arguments) {
        const uintptr_t distance = address < argument.range.start ? argument.range.start - address
                                   : address + size > argument.range.end ? address + size - argument.range.end
                                                                         : 0;
        if (distance < least) {
            least = distance;
            nearest = &argument;
        }
    }
    std::string sentence = describe(kind, address, size);
    std::string key = kernel->name;
    const Range room = room_at(address);
    if (nearest && least < (64 << 10)) {
        const std::string name = "buffer " + std::to_string(nearest->number);
        sentence += ", " + named(beside(address, size, nearest->range), name);
        key += " " + name;
    } else {
        sentence += room.empty() ? ", which is no memory of the device" : ", far from every buffer it was given";
    }
    if (!room.empty() && room.holds(address, size))
        find(key, sentence);
    else
        stop(sentence);
}

// Two accesses to the same place, of which at least one writes, and nothing that says which is the first.
struct Race {
    Kind kind, before;
    uintptr_t address;
    size_t size;
    unsigned thread, other;
    // Of the buffer; below zero for shared memory.
    int buffer;
    uintptr_t start;
    bool other_block;

    bool same_warp() const { return !other_block && other / 32 == thread / 32; }
    // What of a kernel is reported once.
    unsigned bit() const { return buffer >= 0 ? 4u << (buffer < 28 ? buffer : 28) : same_warp() ? 1 : 2; }
};

__attribute__((noinline)) void report(const Race &race) {
    const std::string memory = race.buffer < 0 ? "shared memory" : "buffer " + std::to_string(race.buffer);
    std::string other = "another block of the same launch " + verb(race.before);
    if (!race.other_block)
        other = "thread number " + std::to_string(race.other) + " of the block " + verb(race.before) +
                (race.same_warp() ? ", with no __syncwarp or __syncthreads between" : ", with no __syncthreads between");
    find(kernel->name + " race " + std::to_string(race.bit()),
         describe(race.kind, race.address, race.size, race.thread) + " (byte " +
             std::to_string(race.address - race.start) + " of " + memory + "), which " + other);
}

// Threads that write the same bytes to the same place do no harm, and kernels do it. What a store is about to
// write is not known before it is done, so it is judged when a thread comes by here the next time.
struct Suspect {
    Race race;
    bool open = false;
    unsigned char bytes[64];
};
Suspect suspect;

__attribute__((noinline)) void judge_suspect() {
    suspect.open = false;
    if (memcmp(reinterpret_cast<const void *>(suspect.race.address), suspect.bytes, suspect.race.size) == 0) return;
    kernel->reported |= suspect.race.bit();
    report(suspect.race);
}

__attribute__((noinline)) void found(const Race &race) {
    if (kernel->reported & race.bit()) return;
    if (race.kind == Kind::Write && race.before == Kind::Write && race.size <= sizeof suspect.bytes) {
        if (suspect.open) return;
        suspect.race = race;
        suspect.open = true;
        memcpy(suspect.bytes, reinterpret_cast<const void *>(race.address), race.size);
        return;
    }
    kernel->reported |= race.bit();
    report(race);
}

// Whether an access by another thread is in no order with one that comes now.
bool apart(const Access &before, unsigned thread, uint8_t bytes) {
    return before.met == met && (before.bytes & bytes) && before.thread != thread &&
           (before.thread / 32 != thread / 32 || before.warp_met == warp_met[thread / 32]);
}

void check_word(Kind kind, uintptr_t address, size_t size, Word &word, uint8_t bytes) {
    const unsigned thread = current_thread();
    const uint32_t warp = warp_met[thread / 32];
    if (!(kind == Kind::Atomic && word.atomic) && apart(word.write, thread, bytes))
        found({kind, word.atomic ? Kind::Atomic : Kind::Write, address, size, thread, word.write.thread, -1,
               SHARED_START, false});
    if (kind == Kind::Read) {
        const Access &before = word.read;
        if (before.met != met) {
            word.read_by_lanes = word.read_by_warps = false;
        } else if (before.thread / 32 != thread / 32) {
            word.read_by_warps = true;
        } else if (before.warp_met != warp) {
            word.read_by_lanes = false;
        } else if (before.thread != thread) {
            word.read_by_lanes = true;
        }
        const uint8_t all = before.met == met ? uint8_t(before.bytes | bytes) : bytes;
        word.read = {met, warp, uint16_t(thread), all};
        return;
    }
    const Access &before = word.read;
    if (apart(before, thread, bytes) || (before.met == met && (before.bytes & bytes) && word.read_by_warps) ||
        (before.met == met && (before.bytes & bytes) && word.read_by_lanes && before.warp_met == warp))
        found({kind, Kind::Read, address, size, thread, before.thread, -1, SHARED_START, false});
    word.write = {met, warp, uint16_t(thread), bytes};
    word.atomic = kind == Kind::Atomic;
}

// A warp that does not diverge runs in step on every device so far, and there are kernels that rely on it. So that
// they compute what they do there, a thread that goes from writing to reading, or back, without a barrier lets the
// others do as much first. What they rely on is a finding all the same.
void keep_in_step(Kind kind) {
    const unsigned thread = current_thread();
    const Step now = {met, warp_met[thread / 32], kind == Kind::Read};
    const Step before = steps[thread];
    if (before.met == now.met && before.warp_met == now.warp_met && before.read != now.read) let_others_go_on();
    steps[thread] = {met, warp_met[thread / 32], kind == Kind::Read};
}

void check_shared(Kind kind, uintptr_t address, size_t size) {
    keep_in_step(kind);
    if (address + size > shared_end) return outside_shared(kind, address, size);
    for (uintptr_t at = address - SHARED_START, end = at + size; at < end;) {
        const uintptr_t next = (at | 3) + 1 < end ? (at | 3) + 1 : end;
        const unsigned bytes = ((1u << (next - at)) - 1) << (at & 3);
        check_word(kind, address, size, words[at / 4], uint8_t(bytes));
        at = next;
    }
}

// What another block wrote is in no order with what this one does, and what another warp wrote is only after a
// barrier.
void check_written(Kind kind, uintptr_t address, size_t size, const Argument &argument) {
    const unsigned thread = current_thread();
    for (uintptr_t at = address - argument.range.start, end = at + size; at < end;) {
        const uintptr_t next = (at | 3) + 1 < end ? (at | 3) + 1 : end;
        const uint8_t bytes = uint8_t(((1u << (next - at)) - 1) << (at & 3));
        Written &last = argument.written[at / 4];
        if (last.met >= kernel_met && (last.bytes & bytes) && !(last.atomic && kind == Kind::Atomic)) {
            const bool other_block = last.met < block_met;
            if (other_block || (last.met == met && last.thread / 32 != thread / 32))
                found({kind, last.atomic ? Kind::Atomic : Kind::Write, address, size, thread, last.thread,
                       int(argument.number), argument.range.start, other_block});
        }
        if (kind != Kind::Read) last = {met, uint16_t(thread), bytes, kind == Kind::Atomic};
        at = next;
    }
}

void check_argument(Kind kind, uintptr_t address, size_t size, const Argument &argument) {
    if (argument.written) check_written(kind, address, size, argument);
}

void check(Kind kind, uintptr_t address, size_t size) {
    if (address - stack_start < STACK_SIZE) return;
    if (suspect.open) judge_suspect();
    if (address - SHARED_START < SHARED_SIZE) return check_shared(kind, address, size);
    if (last_argument < arguments.size() && arguments[last_argument].range.holds(address, size))
        return check_argument(kind, address, size, arguments[last_argument]);
    for (size_t number = 0; number < arguments.size(); number++)
        if (arguments[number].range.holds(address, size)) {
            last_argument = number;
            return check_argument(kind, address, size, arguments[number]);
        }
    if (kind == Kind::Read && image.holds(address, size)) return;
    outside(kind, address, size);
}

}  // namespace

void checks_begin(const Kernel &what, std::vector<Argument> with, unsigned shared_size) {
    kernel = &what;
    arguments = std::move(with);
    last_argument = 0;
    image = what.image;
    shared_end = SHARED_START + shared_size;
    checks_block_met();
    kernel_met = met;
}

void checks_on_stack(const char *stack) {
    if (suspect.open) judge_suspect();
    stack_start = reinterpret_cast<uintptr_t>(stack);
}

void checks_end() {
    if (suspect.open) judge_suspect();
}

void checks_block_begins() {
    checks_block_met();
    block_met = met;
}

void checks_block_met() {
    // Four billion meetings are days: a run ends before the count comes round.
    met++;
}

void checks_warp_met(unsigned warp) { warp_met[warp]++; }

extern "C" {
void emulate_atomic(const void *address, size_t size) { check(Kind::Atomic, reinterpret_cast<uintptr_t>(address), size); }
void emulate_load(const void *address, size_t size) { check(Kind::Read, reinterpret_cast<uintptr_t>(address), size); }
void emulate_store(void *address, size_t size) { check(Kind::Write, reinterpret_cast<uintptr_t>(address), size); }

#define ACCESSES(size)                                                                              \
    void __asan_load##size##_noabort(uintptr_t address) { check(Kind::Read, address, size); }       \
    void __asan_store##size##_noabort(uintptr_t address) { check(Kind::Write, address, size); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
#undef ACCESSES
void __asan_loadN_noabort(uintptr_t address, size_t size) {
    if (size) check(Kind::Read, address, size);
}
void __asan_storeN_noabort(uintptr_t address, size_t size) {
    if (size) check(Kind::Write, address, size);
}
void __asan_handle_no_return() {}
}
