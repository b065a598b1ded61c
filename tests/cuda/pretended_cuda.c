/* One pretended CUDA device: what torch asks the runtime and the driver before it computes gradients of tensors that only
   say they are on CUDA. It launches nothing. Preloaded, and found by torch as libcuda.so.1. */
#include <stddef.h>
#include <string.h>
/* struct cudaDeviceProp of CUDA 13, of which torch reads these fields; the header needs files that no package has */
static void set(char *properties, size_t offset, int value) { memcpy(properties + offset, &value, sizeof value); }
int cudaGetDeviceProperties(char *properties, int device) {
  memset(properties, 0, 1008);
  strcpy(properties, "pretended H100");
  size_t memory = 80UL << 30, shared = 49152;
  memcpy(properties + 288, &memory, sizeof memory);
  memcpy(properties + 296, &shared, sizeof shared);
  set(properties, 304, 65536); set(properties, 308, 32); set(properties, 320, 1024);    /* registers, warp, threads */
  set(properties, 336, 2147483647); set(properties, 340, 65535); set(properties, 344, 65535);              /* grid */
  set(properties, 360, 9); set(properties, 364, 0); set(properties, 384, 132);  /* capability, multiprocessors */
  set(properties, 596, 50 << 20); set(properties, 604, 2048);                       /* level 2 cache, threads each */
  set(properties, 632, 65536); set(properties, 672, 232448);                     /* registers each, shared opt-in */
  return 0;
}
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaSetDevice(int device) { return 0; }
int cudaInitDevice(int device, unsigned properties, unsigned flags) { return 0; }
int cudaGetLastError(void) { return 0; }
int cudaPeekAtLastError(void) { return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cudaMemGetInfo(size_t *free, size_t *total) { *free = 70UL << 30; *total = 80UL << 30; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }
int cuCtxGetCurrent(void **context) { *context = 0; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "pretended"; return 0; }
