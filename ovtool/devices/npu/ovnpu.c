/* Compiles a model with OpenVINO's C API: the part of ovtool that runs under Wine.
 *
 *   ovnpu version
 *   ovnpu compile MODEL.xml OUT.blob DEVICE [KEY VALUE]...
 *
 * It lies beside OpenVINO's DLLs, so that Windows finds them.  What it answers is a line that begins
 * with '@', as those of ovtool/devices/compile_worker.py: the library's own log stands between them.
 */
#include <stdio.h>
#include <string.h>
#include <windows.h>

#define MOST_PROPERTIES 8

typedef struct { const char *build, *description; } version_t;
typedef int (*get_version_t)(version_t *);
typedef const char *(*last_error_t)(void);
typedef int (*create_t)(void **);
typedef int (*read_t)(void *, const char *, const char *, void **);
typedef int (*compile_t)(void *, void *, const char *, size_t, void **, ...);
typedef int (*property_t)(void *, const char *, char **);
typedef int (*export_t)(void *, const char *);

static HMODULE library;
static last_error_t last_error;

static FARPROC find(const char *name) {
    FARPROC found = GetProcAddress(library, name);
    if (!found) {
        printf("@error openvino_c.dll has no %s\n", name);
        ExitProcess(2);
    }
    return found;
}

static void line(const char *key, const char *text) {
    printf("@%s ", key);
    for (; *text; text++) {
        if (*text == '\n') fputs(" | ", stdout);
        else if (*text != '\r') putchar(*text);
    }
    putchar('\n');
}

static int failed(void) {
    const char *said = last_error();
    line("error", said && *said ? said : "OpenVINO gives no reason");
    return 5;
}

static double now_s(void) {
    LARGE_INTEGER frequency, count;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}

static int compile(int count, char **words) {
    create_t create = (create_t)find("ov_core_create");
    read_t read = (read_t)find("ov_core_read_model");
    compile_t compile_model = (compile_t)find("ov_core_compile_model");
    property_t property = (property_t)find("ov_compiled_model_get_property");
    export_t export_model = (export_t)find("ov_compiled_model_export_model");
    void *core = NULL, *model = NULL, *compiled = NULL;
    const char *p[2 * MOST_PROPERTIES] = {NULL};
    const int given = count - 3;
    char *devices = NULL;
    double began;

    if (given % 2 || given > 2 * MOST_PROPERTIES) {
        printf("@error at most %d properties, each a key and a value\n", MOST_PROPERTIES);
        return 2;
    }
    memcpy(p, words + 3, (size_t)given * sizeof *p);
    if (create(&core) || read(core, words[0], NULL, &model)) return failed();
    began = now_s();
    if (compile_model(core, model, words[2], (size_t)given, &compiled, p[0], p[1], p[2], p[3], p[4],
                      p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15]))
        return failed();
    printf("@compile_s %.3f\n", now_s() - began);
    if (!property(compiled, "EXECUTION_DEVICES", &devices)) line("execution_devices", devices);
    return export_model(compiled, words[1]) ? failed() : 0;
}

int main(int count, char **words) {
    version_t version;
    setvbuf(stdout, NULL, _IONBF, 0);
    library = LoadLibraryA("openvino_c.dll");
    if (!library) {
        printf("@error openvino_c.dll does not load: Windows error %lu\n", GetLastError());
        return 2;
    }
    last_error = (last_error_t)find("ov_get_last_err_msg");
    if (((get_version_t)find("ov_get_openvino_version"))(&version)) return failed();
    line("version", version.build);
    if (count >= 5 && !strcmp(words[1], "compile")) return compile(count - 2, words + 2);
    return count == 2 && !strcmp(words[1], "version") ? 0 : 2;
}
