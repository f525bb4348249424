/* Stands in for libnvidia-ml.so.1: two GPUs whose readings the test knows. Built with OLD it is a
   driver without the second version of the memory question. */
#include <stdio.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory2_t;
typedef struct { unsigned int gpu, memory; } use_t;

static unsigned long long energy = 1000000;

int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 6 ? "Not Found" : "Not Supported"; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12080;
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *)1;
    return strcmp(uuid, "GPU-11112222-3333-4444-5555-666677778888") == 0 ? 0 : 6;
}
int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = 2;
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    *device = (void *)(1ul + index);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
    /* The second GPU is half as large. */
    memory->total = device == (void *)2 ? 12ull << 30 : 24ull << 30;
    memory->used = 3ull << 30;
    memory->free = memory->total - memory->used;
    return 0;
}
#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(void *device, memory2_t *memory) {
    if (memory->version != 0x02000028) return 25;
    memory->total = device == (void *)2 ? 12ull << 30 : 24ull << 30;
    memory->reserved = 1ull << 30;
    memory->used = 2ull << 30;
    memory->free = memory->total - memory->reserved - memory->used;
    return 0;
}
#endif
int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    snprintf(name, length, "Stand-in %d", device == (void *)2 ? 12 : 24);
    return 0;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    snprintf(uuid, length, device == (void *)2 ? "GPU-bbbb" : "GPU-aaaa");
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = 8;
    *minor = device == (void *)2 ? 6 : 9;
    return 0;
}
/* The second GPU knows no slices; the first one is whole. */
int nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *later) {
    *now = *later = 0;
    return device == (void *)2 ? 3 : 0;
}
int nvmlDeviceGetUtilizationRates(void *device, use_t *use) {
    (void)device;
    use->gpu = 87;
    use->memory = 40;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatt) {
    (void)device;
    *milliwatt = 251500;
    return 0;
}
/* Every look costs 2 joule. */
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoule) {
    (void)device;
    *millijoule = energy;
    energy += 2000;
    return 0;
}
/* This GPU does not tell its clock. */
int nvmlDeviceGetClockInfo(void *device, int kind, unsigned int *clock) {
    (void)device, (void)kind, (void)clock;
    return 3;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    (void)device;
    *reasons = 0x4;
    return 0;
}
