// Device memory: memory of this process, with room around each allocation in which an access is a finding
// and does no harm.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "runtime.h"

static const size_t ROOM = 64 << 10;
// As much as a small device has; what is not touched takes no memory.
static const size_t TOTAL = size_t(8) << 30;

static std::mutex lock;
struct Allocation {
    Range range;
    Written *written;
};
static std::map<uintptr_t, Allocation> allocations;
static size_t in_use;

static Range find_allocation(uintptr_t address, size_t room) {
    const std::lock_guard<std::mutex> guard(lock);
    auto after = allocations.upper_bound(address + room);
    if (after == allocations.begin()) return {};
    const Range range = (--after)->second.range;
    return address + room >= range.start && address < range.end + room ? range : Range{};
}

Range allocation_at(uintptr_t address) { return find_allocation(address, 0); }

Range room_at(uintptr_t address) {
    const Range range = find_allocation(address, ROOM);
    return range.empty() ? range : Range{range.start - ROOM, range.end + ROOM};
}

Written *written_at(uintptr_t address) {
    const std::lock_guard<std::mutex> guard(lock);
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return nullptr;
    const Allocation &allocation = (--after)->second;
    return allocation.range.holds(address, 1) ? allocation.written + (address - allocation.range.start) / 4 : nullptr;
}

static size_t mapped(size_t size) { return (size + 4095) / 4096 * 4096 + 2 * ROOM; }
static size_t written_size(size_t size) { return (size + 3) / 4 * sizeof(Written); }

// Zeros, of which those that are never touched take no memory.
static void *map(size_t size) {
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

extern "C" {

Result cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = TOTAL;
    return SUCCESS;
}

Result cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = TOTAL;
    *free = TOTAL - in_use;
    return SUCCESS;
}

Result cuMemAlloc_v2(DevicePointer *pointer, size_t size) {
    if (in_use + size > TOTAL) return OUT_OF_MEMORY;
    void *memory = map(mapped(size)), *written = map(written_size(size ? size : 1));
    if (!memory || !written) return OUT_OF_MEMORY;
    const uintptr_t start = reinterpret_cast<uintptr_t>(memory) + ROOM;
    const std::lock_guard<std::mutex> guard(lock);
    allocations[start] = {{start, start + size}, static_cast<Written *>(written)};
    in_use += size;
    *pointer = start;
    return SUCCESS;
}

Result cuMemFree_v2(DevicePointer pointer) {
    drain();
    const std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations.find(pointer);
    if (found == allocations.end()) return INVALID_VALUE;
    const size_t size = found->second.range.end - found->second.range.start;
    munmap(reinterpret_cast<void *>(pointer - ROOM), mapped(size));
    munmap(found->second.written, written_size(size ? size : 1));
    allocations.erase(found);
    in_use -= size;
    return SUCCESS;
}

Result cuMemAllocAsync(DevicePointer *pointer, size_t size, void *) { return cuMemAlloc_v2(pointer, size); }
Result cuMemFreeAsync(DevicePointer pointer, void *) { return cuMemFree_v2(pointer); }

// Memory of the host is memory.
Result cuMemAllocHost_v2(void **pointer, size_t size) {
    *pointer = calloc(1, size ? size : 1);
    return *pointer ? SUCCESS : OUT_OF_MEMORY;
}
Result cuMemHostAlloc(void **pointer, size_t size, unsigned) { return cuMemAllocHost_v2(pointer, size); }
Result cuMemFreeHost(void *pointer) {
    drain();
    free(pointer);
    return SUCCESS;
}

// A copy to the device takes what the host holds now; all others wait for what was asked for before.
Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t size, void *) {
    const char *bytes = static_cast<const char *>(from);
    std::vector<char> copy(bytes, bytes + size);
    enqueue([to, copy = std::move(copy)] { memcpy(reinterpret_cast<void *>(to), copy.data(), copy.size()); });
    return SUCCESS;
}
Result cuMemcpyHtoD_v2(DevicePointer to, const void *from, size_t size) {
    return cuMemcpyHtoDAsync_v2(to, from, size, nullptr);
}
Result cuMemcpyDtoH_v2(void *to, DevicePointer from, size_t size) {
    drain();
    memcpy(to, reinterpret_cast<const void *>(from), size);
    return SUCCESS;
}
Result cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t size, void *) {
    return cuMemcpyDtoH_v2(to, from, size);
}
Result cuMemcpyAsync(DevicePointer to, DevicePointer from, size_t size, void *) {
    drain();
    memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), size);
    return SUCCESS;
}
Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t size, void *stream) {
    return cuMemcpyAsync(to, from, size, stream);
}
Result cuMemsetD8Async(DevicePointer at, unsigned char value, size_t size, void *) {
    drain();
    memset(reinterpret_cast<void *>(at), value, size);
    return SUCCESS;
}

// CUDA_MEMCPY2D of cuda.h: a side is host memory (1) or device memory.
struct Side {
    size_t x, y;
    int kind;
    const void *host;
    DevicePointer device;
    void *array;
    size_t pitch;
    char *row(size_t number, size_t width) const {
        const size_t step = pitch ? pitch : width;
        char *start = kind == 1 ? static_cast<char *>(const_cast<void *>(host)) : reinterpret_cast<char *>(device);
        return start + (y + number) * step + x;
    }
};
struct Copy2D {
    Side from, to;
    size_t width, height;
};
Result cuMemcpy2DAsync_v2(const Copy2D *copy, void *) {
    drain();
    for (size_t row = 0; row < copy->height; row++)
        memcpy(copy->to.row(row, copy->width), copy->from.row(row, copy->width), copy->width);
    return SUCCESS;
}
}
