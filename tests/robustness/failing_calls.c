/* Preloaded into every process of a command: fails, or kills at, the n-th call of a kind.
 *
 * The plan is shared memory, a file named by FAILING_CALLS; failing_calls.py has its layout. Calls
 * on files outside of the plan's folder are not counted: libraries, Python modules, /proc. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN, READ, WRITE, FSYNC, RENAME, UNLINK, MKDIR, TRUNCATE, STAT, LIST, LOCK, LINK, PIPE, FORK, MAP, SEEK, KINDS };
enum { PLACES = 1024, LENGTH = 256 };

static struct plan {
    int active, server, kind, place, error, struck;
    int calls[32];
    char folder[4096];
    char paths[KINDS][PLACES][LENGTH]; /* below the folder; empty for calls without a path */
} *plan;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAILING_CALLS");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *memory = (void *)syscall(SYS_mmap, 0, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    plan = memory == MAP_FAILED ? 0 : memory;
}

static int counting(void) { return plan && plan->active && getpid() != plan->server; }

static int within(const char *path) { return !strncmp(path, plan->folder, strlen(plan->folder)); }

static int strike(enum kind kind, const char *path) {
    int number = __atomic_add_fetch(&plan->calls[kind], 1, __ATOMIC_SEQ_CST);
    if (path && number <= PLACES)
        strncpy(plan->paths[kind][number - 1], path + strlen(plan->folder), LENGTH - 1);
    if ((int)kind != plan->kind || number != plan->place) return 0;
    plan->struck = 1;
    if (!plan->error) kill(getpid(), SIGKILL);
    errno = plan->error;
    return 1;
}

static int fails(enum kind kind) { return counting() && strike(kind, 0); }

static int fails_fd(enum kind kind, int fd) {
    char name[64], path[4096];
    if (!counting()) return 0;
    int before = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    long size = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
    errno = before;
    path[size < 0 ? 0 : size] = 0;
    return within(path) && strike(kind, path);
}

static int fails_at(enum kind kind, int fd, const char *path) {
    if (!counting() || !path) return 0;
    if (*path == '/' || fd == AT_FDCWD) return within(path) && strike(kind, path);
    return fails_fd(kind, fd);
}

static int mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; }

#define OPENAT(name, parameters, fd, path)                              \
    int name parameters {                                               \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        int mode = mode_of(flags, rest);                                \
        va_end(rest);                                                   \
        if (fails_at(OPEN, fd, path)) return -1;                        \
        return syscall(SYS_openat, fd, path, flags, mode);              \
    }
OPENAT(open, (const char *path, int flags, ...), AT_FDCWD, path)
OPENAT(open64, (const char *path, int flags, ...), AT_FDCWD, path)
OPENAT(openat, (int fd, const char *path, int flags, ...), fd, path)
OPENAT(openat64, (int fd, const char *path, int flags, ...), fd, path)

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(kind, result, failed, name, parameters, fd, path, arguments) \
    result name parameters {                                              \
        if (fails_at(kind, fd, path)) return failed;                      \
        return REAL(name) arguments;                                      \
    }
#define CALL_FD(kind, result, failed, name, parameters, fd, arguments)    \
    result name parameters {                                              \
        if (fails_fd(kind, fd)) return failed;                            \
        return REAL(name) arguments;                                      \
    }
CALL(OPEN, FILE *, 0, fopen, (const char *a, const char *b), AT_FDCWD, a, (a, b))
CALL(OPEN, FILE *, 0, fopen64, (const char *a, const char *b), AT_FDCWD, a, (a, b))
CALL_FD(READ, ssize_t, -1, pread64, (int a, void *b, size_t c, off64_t d), a, (a, b, c, d))
CALL_FD(WRITE, ssize_t, -1, pwrite64, (int a, const void *b, size_t c, off64_t d), a, (a, b, c, d))
CALL_FD(WRITE, ssize_t, -1, writev, (int a, const struct iovec *b, int c), a, (a, b, c))
CALL_FD(FSYNC, int, -1, fsync, (int a), a, (a))
CALL_FD(FSYNC, int, -1, fdatasync, (int a), a, (a))
CALL(RENAME, int, -1, rename, (const char *a, const char *b), AT_FDCWD, b, (a, b))
CALL(RENAME, int, -1, renameat, (int a, const char *b, int c, const char *d), c, d, (a, b, c, d))
CALL(RENAME, int, -1, renameat2, (int a, const char *b, int c, const char *d, unsigned e), c, d, (a, b, c, d, e))
CALL(UNLINK, int, -1, unlink, (const char *a), AT_FDCWD, a, (a))
CALL(UNLINK, int, -1, rmdir, (const char *a), AT_FDCWD, a, (a))
CALL(UNLINK, int, -1, unlinkat, (int a, const char *b, int c), a, b, (a, b, c))
CALL(MKDIR, int, -1, mkdir, (const char *a, mode_t b), AT_FDCWD, a, (a, b))
CALL(MKDIR, int, -1, mkdirat, (int a, const char *b, mode_t c), a, b, (a, b, c))
CALL_FD(TRUNCATE, int, -1, ftruncate, (int a, off_t b), a, (a, b))
CALL_FD(TRUNCATE, int, -1, ftruncate64, (int a, off64_t b), a, (a, b))
CALL(STAT, int, -1, stat, (const char *a, struct stat *b), AT_FDCWD, a, (a, b))
CALL(STAT, int, -1, stat64, (const char *a, struct stat64 *b), AT_FDCWD, a, (a, b))
CALL(STAT, int, -1, lstat, (const char *a, struct stat *b), AT_FDCWD, a, (a, b))
CALL(STAT, int, -1, lstat64, (const char *a, struct stat64 *b), AT_FDCWD, a, (a, b))
CALL_FD(STAT, int, -1, fstat, (int a, struct stat *b), a, (a, b))
CALL_FD(STAT, int, -1, fstat64, (int a, struct stat64 *b), a, (a, b))
CALL(STAT, int, -1, fstatat, (int a, const char *b, struct stat *c, int d), a, b, (a, b, c, d))
CALL(STAT, int, -1, fstatat64, (int a, const char *b, struct stat64 *c, int d), a, b, (a, b, c, d))
CALL(STAT, int, -1, access, (const char *a, int b), AT_FDCWD, a, (a, b))
CALL(LIST, DIR *, 0, opendir, (const char *a), AT_FDCWD, a, (a))
CALL_FD(LIST, DIR *, 0, fdopendir, (int a), a, (a))
CALL_FD(SEEK, off_t, -1, lseek, (int a, off_t b, int c), a, (a, b, c))
CALL_FD(SEEK, off64_t, -1, lseek64, (int a, off64_t b, int c), a, (a, b, c))
CALL_FD(LOCK, int, -1, flock, (int a, int b), a, (a, b))
CALL(LINK, int, -1, link, (const char *a, const char *b), AT_FDCWD, b, (a, b))
CALL(LINK, int, -1, symlink, (const char *a, const char *b), AT_FDCWD, b, (a, b))
CALL(LINK, ssize_t, -1, readlink, (const char *a, char *b, size_t c), AT_FDCWD, a, (a, b, c))
CALL(LINK, int, -1, chmod, (const char *a, mode_t b), AT_FDCWD, a, (a, b))
CALL_FD(LINK, int, -1, fchmod, (int a, mode_t b), a, (a, b))

/* The most frequent calls do not look for the real function. */
ssize_t read(int a, void *b, size_t c) { return fails_fd(READ, a) ? -1 : syscall(SYS_read, a, b, c); }
ssize_t write(int a, const void *b, size_t c) { return fails_fd(WRITE, a) ? -1 : syscall(SYS_write, a, b, c); }

void *mmap(void *a, size_t b, int c, int d, int fd, off_t f) {
    if (fd >= 0 && fails_fd(MAP, fd)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, a, b, c, d, fd, f);
}
void *mmap64(void *a, size_t b, int c, int d, int fd, off64_t f) { return mmap(a, b, c, d, fd, f); }

int pipe2(int a[2], int b) { return fails(PIPE) ? -1 : (int)syscall(SYS_pipe2, a, b); }
int socketpair(int a, int b, int c, int d[2]) { return fails(PIPE) ? -1 : (int)syscall(SYS_socketpair, a, b, c, d); }
int dup(int a) { return fails(PIPE) ? -1 : (int)syscall(SYS_dup, a); }

pid_t fork(void) { return fails(FORK) ? -1 : REAL(fork)(); }
int pthread_create(pthread_t *a, const pthread_attr_t *b, void *(*c)(void *), void *d) {
    return fails(FORK) ? plan->error : REAL(pthread_create)(a, b, c, d);
}
