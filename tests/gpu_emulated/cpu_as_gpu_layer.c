/* cpu_as_gpu_layer.c: an OpenCL layer, for tests only.
 *
 * The layer presents Intel's OpenCL CPU device (PyPI: intel-opencl-rt) as an Intel Xe-LP GPU, so OpenVINO's GPU plugin
 * runs on a machine without an Intel GPU.  The OpenCL loader puts the layer in front of the driver:
 *
 *     OPENCL_LAYERS=/path/libcpu_as_gpu_layer.so
 *
 * The layer needs no OpenCL headers: the ICD dispatch table is an array of function pointers in the order of the OpenCL
 * ICD extension.   cc -O2 -fPIC -shared cpu_as_gpu_layer.c -o libcpu_as_gpu_layer.so
 *
 * The name of the device always contains "Emulated", since its figures say nothing about a GPU.
 *
 * CPU_AS_GPU_IP    CL_DEVICE_IP_VERSION_INTEL (default 12.0.0)
 * CPU_AS_GPU_LOG   log file: one line per built program and executed kernel, and the log of a failed build
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t err_t;
typedef uint32_t u32;
typedef uint64_t u64;

enum { INVALID_VALUE = -30 };

/* places in the dispatch table */
enum { GET_DEVICE_IDS = 2, GET_DEVICE_INFO = 3, RETAIN_PROGRAM = 28, RELEASE_PROGRAM = 29, BUILD_PROGRAM = 30,
       GET_PROGRAM_BUILD_INFO = 33, CREATE_KERNEL = 34, CREATE_KERNELS_IN_PROGRAM = 35, RELEASE_KERNEL = 37,
       GET_KERNEL_INFO = 39, ENQUEUE_ND_RANGE_KERNEL = 59, CREATE_COMMAND_QUEUE_WITH_PROPERTIES = 123, ENTRIES = 149 };

typedef err_t (*info_fn)(void *, u32, size_t, void *, size_t *);
typedef err_t (*device_ids_fn)(void *, u64, u32, void **, u32 *);
typedef err_t (*ref_fn)(void *);
typedef err_t (*build_fn)(void *, u32, void *const *, const char *, void (*)(void *, void *), void *);
typedef err_t (*build_info_fn)(void *, void *, u32, size_t, void *, size_t *);
typedef void *(*create_kernel_fn)(void *, const char *, err_t *);
typedef err_t (*create_kernels_fn)(void *, u32, void **, u32 *);
typedef void *(*create_queue_fn)(void *, void *, const u64 *, err_t *);
typedef err_t (*enqueue_fn)(void *, void *, u32, const size_t *, const size_t *, const size_t *, u32, const void *, void *);

static void *const *T;      /* the next table in the chain */
static void *D[ENTRIES];    /* ours */
#define NEXT(type, i) ((type)T[i])

static void say(const char *fmt, ...) {
    const char *p = getenv("CPU_AS_GPU_LOG");
    FILE *f = p && *p ? fopen(p, "a") : NULL;
    va_list ap;
    if (!f) return;
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    fclose(f);
}

static err_t put(const void *v, size_t n, size_t cap, void *out, size_t *ret) {
    if (ret) *ret = n;
    if (out && cap < n) return INVALID_VALUE;
    if (out) memcpy(out, v, n);
    return 0;
}
#define PUT(type, value) do { type v_ = (value); return put(&v_, sizeof v_, cap, out, ret); } while (0)
#define PUTS(s) do { const char *s_ = (s); return put(s_, strlen(s_) + 1, cap, out, ret); } while (0)

/* The CPU runtime forms sub-groups along the first dimension only, so the plugin's sub-group kernels, many of which
 * run with a local size of (1, 1, 16), compute wrong results.  Without these the plugin picks its plain kernels. */
static const char hidden[] = " cl_khr_subgroups cl_intel_subgroups cl_intel_subgroups_char cl_intel_subgroups_short "
                             "cl_intel_subgroups_long cl_intel_required_subgroup_size ";

static err_t get_device_info(void *d, u32 p, size_t cap, void *out, size_t *ret) {
    const char *e;
    switch (p) {
    case 0x1000: PUT(u64, 4);                   /* TYPE: GPU */
    case 0x1001: PUT(u32, 0x8086);              /* VENDOR_ID */
    case 0x1002: PUT(u32, 96);                  /* MAX_COMPUTE_UNITS */
    case 0x1004: PUT(size_t, 512);              /* MAX_WORK_GROUP_SIZE */
    case 0x100C: PUT(u32, 1000);                /* MAX_CLOCK_FREQUENCY, MHz; the CPU runtime says 0 */
    case 0x1023: PUT(u64, 65536);               /* LOCAL_MEM_SIZE */
    case 0x1043: PUT(u32, 0);                   /* PARTITION_MAX_SUB_DEVICES: no tiles */
    case 0x4250:                                /* IP_VERSION_INTEL */
        e = getenv("CPU_AS_GPU_IP");
        PUT(u32, e && *e ? (u32)strtoul(e, NULL, 0) : 12u << 22);
    case 0x4251: PUT(u32, 0x9A49);              /* ID_INTEL */
    case 0x4252: PUT(u32, 1);                   /* NUM_SLICES_INTEL */
    case 0x4253: PUT(u32, 6);                   /* NUM_SUB_SLICES_PER_SLICE_INTEL */
    case 0x4254: PUT(u32, 16);                  /* NUM_EUS_PER_SUB_SLICE_INTEL */
    case 0x4255: PUT(u32, 7);                   /* NUM_THREADS_PER_EU_INTEL */
    case 0x4256: PUT(u64, 1);                   /* FEATURE_CAPABILITIES_INTEL: DP4A, no DPAS (keeps oneDNN out) */
    case 0x4108: {                              /* SUB_GROUP_SIZES_INTEL */
        size_t v[3] = {8, 16, 32};
        return put(v, sizeof v, cap, out, ret);
    }
    case 0x102B:                                /* NAME */
        PUTS("Emulated Intel Xe-LP (OpenCL on CPU)");
    case 0x1030: {                              /* EXTENSIONS */
        char all[16384], kept[16384] = "", word[256], *save = NULL;
        err_t err = NEXT(info_fn, GET_DEVICE_INFO)(d, p, sizeof all, all, NULL);
        if (err) return err;
        for (char *w = strtok_r(all, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
            snprintf(word, sizeof word, " %s ", w);
            if (strstr(hidden, word)) continue;
            if (*kept) strcat(kept, " ");
            strcat(kept, w);
        }
        PUTS(kept);
    }
    default: return NEXT(info_fn, GET_DEVICE_INFO)(d, p, cap, out, ret);
    }
}

static err_t get_device_ids(void *platform, u64 type, u32 n, void **ds, u32 *nr) {
    if (type != 0xFFFFFFFF && (type & 4)) type = 0xFFFFFFFF;
    return NEXT(device_ids_fn, GET_DEVICE_IDS)(platform, type, n, ds, nr);
}

/* The CPU compiler may widen a scalar convert_[u]char_sat_rte(float) to a 32-wide built-in that its library lacks
 * ("JIT session error: Symbols not found: [ _Z23convert_uchar32_sat_rteDv32_f ]"), so write it without. */
static const char fixups[] =
    " -Dconvert_uchar_sat_rte(x)=((uchar)(int)fmin(fmax(rint((float)(x)),0.0f),255.0f))"
    " -Dconvert_char_sat_rte(x)=((char)(int)fmin(fmax(rint((float)(x)),-128.0f),127.0f))";

static err_t build_program(void *p, u32 n, void *const *ds, const char *opt, void (*cb)(void *, void *), void *ud) {
    const char *given = opt ? opt : "";
    char *o = malloc(strlen(given) + sizeof fixups);
    err_t err;
    if (!o) return -6;
    strcat(strcpy(o, given), fixups);
    for (char *q = o; (q = strstr(q, "-cl-intel-"));)       /* only the GPU compiler knows these */
        while (*q && *q != ' ') *q++ = ' ';
    err = NEXT(build_fn, BUILD_PROGRAM)(p, n, ds, o, cb, ud);
    say("build [%s] -> %d\n", given, err);
    if (err && n) {
        size_t m = 0;
        char *log;
        NEXT(build_info_fn, GET_PROGRAM_BUILD_INFO)(p, ds[0], 0x1183, 0, NULL, &m);
        if ((log = calloc(m + 1, 1))) {
            NEXT(build_info_fn, GET_PROGRAM_BUILD_INFO)(p, ds[0], 0x1183, m, log, NULL);
            say("%s\n", log);
            free(log);
        }
    }
    free(o);
    return err;
}

/* With the CPU runtime a program handle dies at the application's last release, though its kernels live on and still
 * report it (CL_KERNEL_PROGRAM).  With the GPU driver the kernels keep it alive and OpenVINO relies on that, so hold
 * one reference for each kernel. */
static void *create_kernel(void *p, const char *name, err_t *err) {
    void *k = NEXT(create_kernel_fn, CREATE_KERNEL)(p, name, err);
    if (k) NEXT(ref_fn, RETAIN_PROGRAM)(p);
    return k;
}

static err_t create_kernels_in_program(void *p, u32 n, void **ks, u32 *nr) {
    u32 got = 0;
    err_t err = NEXT(create_kernels_fn, CREATE_KERNELS_IN_PROGRAM)(p, n, ks, &got);
    if (nr) *nr = got;
    if (!err && ks)
        while (got--) NEXT(ref_fn, RETAIN_PROGRAM)(p);
    return err;
}

static err_t release_kernel(void *k) {
    u32 refs = 0;
    void *p = NULL;
    err_t err;
    if (!NEXT(info_fn, GET_KERNEL_INFO)(k, 0x1192, sizeof refs, &refs, NULL) && refs == 1)
        NEXT(info_fn, GET_KERNEL_INFO)(k, 0x1194, sizeof p, &p, NULL);
    err = NEXT(ref_fn, RELEASE_KERNEL)(k);
    if (!err && p) NEXT(ref_fn, RELEASE_PROGRAM)(p);
    return err;
}

/* Two threads that wait for out-of-order queues (TaskExecutor::out_of_order_command_list::WaitForIdle) may take all
 * slots of the CPU runtime's arena, and then wait for good.  In order is an order that out-of-order allows too. */
static void *create_queue(void *context, void *device, const u64 *properties, err_t *err) {
    u64 kept[32];
    size_t n = 0;
    for (; properties && properties[n] && n < 30; n += 2) {
        kept[n] = properties[n];
        kept[n + 1] = properties[n] == 0x1093 ? properties[n + 1] & ~1ull : properties[n + 1];  /* QUEUE_PROPERTIES */
    }
    kept[n] = 0;
    return NEXT(create_queue_fn, CREATE_COMMAND_QUEUE_WITH_PROPERTIES)(context, device, properties ? kept : NULL, err);
}

static err_t enqueue(void *q, void *k, u32 dim, const size_t *off, const size_t *g, const size_t *l, u32 nw,
                     const void *w, void *ev) {
    err_t err = NEXT(enqueue_fn, ENQUEUE_ND_RANGE_KERNEL)(q, k, dim, off, g, l, nw, w, ev);
    if (getenv("CPU_AS_GPU_LOG")) {
        char name[512] = "";
        NEXT(info_fn, GET_KERNEL_INFO)(k, 0x1190, sizeof name, name, NULL);
        say("run %s -> %d\n", name, err);
    }
    return err;
}

err_t clGetLayerInfo(u32 p, size_t cap, void *out, size_t *ret) {
    switch (p) {
    case 0x4240: PUT(u32, 100);                 /* CL_LAYER_API_VERSION */
    case 0x4241: PUTS("cpu-as-gpu");            /* CL_LAYER_NAME */
    default: return INVALID_VALUE;
    }
}

err_t clInitLayer(u32 n, void *const *target, u32 *nr, void *const **layer) {
    if (!target || !nr || !layer || n < ENTRIES) return INVALID_VALUE;
    T = target;
    memcpy(D, target, sizeof D);
    D[GET_DEVICE_IDS] = (void *)get_device_ids;
    D[GET_DEVICE_INFO] = (void *)get_device_info;
    D[BUILD_PROGRAM] = (void *)build_program;
    D[CREATE_KERNEL] = (void *)create_kernel;
    D[CREATE_KERNELS_IN_PROGRAM] = (void *)create_kernels_in_program;
    D[RELEASE_KERNEL] = (void *)release_kernel;
    D[ENQUEUE_ND_RANGE_KERNEL] = (void *)enqueue;
    D[CREATE_COMMAND_QUEUE_WITH_PROPERTIES] = (void *)create_queue;
    *layer = D;
    *nr = ENTRIES;
    return 0;
}

/* the Khronos loader of 2025 and later asks for this one */
err_t clInitLayerWithProperties(u32 n, void *const *target, u32 *nr, void *const **layer, const void *props) {
    (void)props;
    return clInitLayer(n, target, nr, layer);
}
err_t clDeinitLayer(void) { return 0; }
