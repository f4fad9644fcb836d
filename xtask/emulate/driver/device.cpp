// One device, its context, its streams and its events.
#include <cstdio>
#include <cstdlib>

#include "runtime.h"

extern "C" {

Result cuInit(unsigned) { return SUCCESS; }
Result cuDriverGetVersion(int *version) {
    *version = 12090;
    return SUCCESS;
}
Result cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}
Result cuDeviceGet(int *device, int) {
    *device = 0;
    return SUCCESS;
}
Result cuDeviceGetName(char *name, int size, int) {
    snprintf(name, size_t(size), "emulated, compute capability %s", setting("EMULATE_CC"));
    return SUCCESS;
}

// The numbers are those of CUdevice_attribute; the answers those of a data centre's device.
Result cuDeviceGetAttribute(int *value, int attribute, int) {
    const int capability = atoi(setting("EMULATE_CC"));
    switch (attribute) {
        case 1: *value = 1024; break;         // threads of a block
        case 2: *value = 1024; break;         // along x
        case 3: *value = 1024; break;         // along y
        case 4: *value = 64; break;           // along z
        case 5: *value = 2147483647; break;   // blocks along x
        case 6: *value = 65535; break;        // along y
        case 7: *value = 65535; break;        // along z
        case 8: *value = 49152; break;        // shared memory of a block
        case 10: *value = 32; break;          // lanes of a warp
        case 16: *value = 108; break;         // multiprocessors
        case 75: *value = capability / 10; break;
        case 76: *value = capability % 10; break;
        case 97: *value = 166912; break;      // shared memory of a block that asks for more
        default: *value = 1; break;           // whether it can do something
    }
    return SUCCESS;
}
Result cuDeviceCanAccessPeer(int *can, int, int) {
    *can = 0;
    return SUCCESS;
}

static int context;
Result cuDevicePrimaryCtxRetain(void **out, int) {
    *out = &context;
    return SUCCESS;
}
Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Result cuCtxSetCurrent(void *) { return SUCCESS; }
Result cuCtxGetCurrent(void **out) {
    *out = &context;
    return SUCCESS;
}
Result cuCtxEnablePeerAccess(void *, unsigned) { return INVALID_VALUE; }
Result cuCtxSynchronize() {
    drain();
    return SUCCESS;
}

// All streams are one queue, so each waits for each.
Result cuStreamCreate(void **stream, unsigned) {
    *stream = malloc(1);
    return SUCCESS;
}
Result cuStreamDestroy_v2(void *stream) {
    free(stream);
    return SUCCESS;
}
Result cuStreamSynchronize(void *) {
    drain();
    return SUCCESS;
}
Result cuStreamQuery(void *) {
    drain();
    return SUCCESS;
}
Result cuStreamWaitEvent(void *, void *, unsigned) { return SUCCESS; }

// An event is recorded in the queue, too: to wait for all of it is to wait for the event.
Result cuEventCreate(void **event, unsigned) {
    *event = malloc(1);
    return SUCCESS;
}
Result cuEventRecord(void *, void *) { return SUCCESS; }
Result cuEventSynchronize(void *) {
    drain();
    return SUCCESS;
}
Result cuEventQuery(void *) {
    drain();
    return SUCCESS;
}
// Time says nothing here; that it passed is all there is to know.
Result cuEventElapsedTime(float *milliseconds, void *, void *) {
    *milliseconds = 1;
    return SUCCESS;
}
Result cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
    return cuEventElapsedTime(milliseconds, start, end);
}
Result cuEventDestroy_v2(void *event) {
    free(event);
    return SUCCESS;
}

Result cuGetErrorName(Result, const char **name) {
    *name = "EMULATED_ERROR";
    return SUCCESS;
}
Result cuGetErrorString(Result, const char **text) {
    *text = "refused by the emulated driver";
    return SUCCESS;
}

// Copies by the tensor memory accelerator are not emulated: a kernel that needs a map is refused here.
Result cuTensorMapEncodeTiled(void *, ...) { return INVALID_VALUE; }
Result cuTensorMapEncodeIm2col(void *, ...) { return INVALID_VALUE; }
Result cuTensorMapEncodeIm2colWide(void *, ...) { return INVALID_VALUE; }
}
