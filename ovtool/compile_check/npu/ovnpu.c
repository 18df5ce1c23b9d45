/* Compiles a model with OpenVINO's C API: the part of ovtool that runs under Wine.
 *
 *   ovnpu version
 *   ovnpu compile MODEL.xml OUT.blob DEVICE [KEY VALUE]...
 *
 * The program is installed next to OpenVINO's DLLs, so that Windows finds them.  Results are lines
 * that begin with '@', between the lines of the library's own log.  Arguments contain neither spaces
 * nor quotes.
 *
 * The program uses kernel32 only, without headers: building a C library for Windows takes minutes.
 */
typedef unsigned long long size_t;
typedef int (*FARPROC)();
void *LoadLibraryA(const char *);
FARPROC GetProcAddress(void *, const char *);
char *GetCommandLineA(void);
void *GetStdHandle(unsigned);
int WriteFile(void *, const void *, unsigned, unsigned *, void *);
int lstrlenA(const char *);
int lstrcmpA(const char *, const char *);
unsigned long long GetTickCount64(void);
void ExitProcess(unsigned);

#define NULL ((void *)0)
#define STANDARD_OUTPUT ((unsigned)-11)
#define MAX_WORDS 32
#define MAX_PROPERTIES 8

typedef struct { const char *build, *description; } version_t;
typedef int (*get_version_t)(version_t *);
typedef const char *(*last_error_t)(void);
typedef int (*create_t)(void **);
typedef int (*read_t)(void *, const char *, const char *, void **);
typedef int (*compile_t)(void *, void *, const char *, size_t, void **, ...);
typedef int (*property_t)(void *, const char *, char **);
typedef int (*export_t)(void *, const char *);

static void *library;
static last_error_t last_error;
static char *words[MAX_WORDS + 1];
static const char *p[2 * MAX_PROPERTIES];

static void write_n(const char *text, int length) {
    unsigned written;
    WriteFile(GetStdHandle(STANDARD_OUTPUT), text, (unsigned)length, &written, NULL);
}

static void write(const char *text) { write_n(text, lstrlenA(text)); }

/* Writes milliseconds as seconds. */
static void write_s(unsigned long long ms) {
    char digits[24];
    int place = sizeof digits, count;
    for (count = 0; count < 4 || ms; count++, ms /= 10) {
        if (count == 3) digits[--place] = '.';
        digits[--place] = (char)('0' + ms % 10);
    }
    write_n(digits + place, (int)sizeof digits - place);
}

static void line(const char *key, const char *text) {
    write("\n@");
    write(key);
    write(" ");
    for (; *text; text++) {
        if (*text == '\n') write(" | ");
        else if (*text != '\r') write_n(text, 1);
    }
    write("\n");
}

static FARPROC find(const char *name) {
    FARPROC function = GetProcAddress(library, name);
    if (!function) {
        line("missing", name);
        line("error", "openvino_c.dll lacks a required function");
        ExitProcess(2);
    }
    return function;
}

static int failed(void) {
    const char *error = last_error();
    line("error", error && *error ? error : "OpenVINO gives no reason");
    return 5;
}

static int compile(int given) {
    create_t create = (create_t)find("ov_core_create");
    read_t read = (read_t)find("ov_core_read_model");
    compile_t compile_model = (compile_t)find("ov_core_compile_model");
    property_t property = (property_t)find("ov_compiled_model_get_property");
    export_t export_model = (export_t)find("ov_compiled_model_export_model");
    void *core = NULL, *model = NULL, *compiled = NULL;
    char *devices = NULL;
    unsigned long long began_ms;
    int i;

    if (given % 2 || given > 2 * MAX_PROPERTIES) {
        line("error", "too many properties, or a property without a value");
        return 2;
    }
    for (i = 0; i < given; i++) p[i] = words[5 + i];
    if (create(&core) || read(core, words[2], NULL, &model)) return failed();
    began_ms = GetTickCount64();
    if (compile_model(core, model, words[4], (size_t)given, &compiled, p[0], p[1], p[2], p[3], p[4],
                      p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15]))
        return failed();
    write("\n@compile_s ");
    write_s(GetTickCount64() - began_ms);
    write("\n");
    if (!property(compiled, "EXECUTION_DEVICES", &devices)) line("execution_devices", devices);
    return export_model(compiled, words[3]) ? failed() : 0;
}

/* Splits the command line into words; the first may be quoted, as Windows does with spaces. */
static int split(char *at) {
    int count = 0;
    while (count < MAX_WORDS) {
        char end = ' ';
        while (*at == ' ') at++;
        if (!*at) break;
        if (*at == '"') { end = '"'; at++; }
        words[count++] = at;
        while (*at && *at != end) at++;
        if (*at) *at++ = 0;
    }
    return count;
}

static int run(int count) {
    static version_t version;
    library = LoadLibraryA("openvino_c.dll");
    if (!library) {
        line("error", "openvino_c.dll does not load");
        return 2;
    }
    last_error = (last_error_t)find("ov_get_last_err_msg");
    if (((get_version_t)find("ov_get_openvino_version"))(&version)) return failed();
    line("version", version.build);
    if (count >= 5 && !lstrcmpA(words[1], "compile")) return compile(count - 5);
    return count == 2 && !lstrcmpA(words[1], "version") ? 0 : 2;
}

void start(void) { ExitProcess((unsigned)run(split(GetCommandLineA()))); }
