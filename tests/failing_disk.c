/* Stands between a process and the C library, and counts every call that changes a file below one folder.
 *
 * At one of them, chosen by its number, the process ends or the call fails. Python, sqlite, Arrow and safetensors all
 * come by here, since all of them call the C library. tests/failing_disk.py builds it and says what shall happen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS, BEFORE, HALF, AFTER, FAIL, SHORT, FULL };

static char root[PATH_MAX];
static size_t root_length;
static char skipped[64];
static long chosen = -1;
static int wanted = PASS;
static int code;
static int log_file = -1;
static atomic_long calls;
static atomic_int full;

/* What shall happen from now on: at call number `at`, from 1, the fault `what`; `error` is the errno of a failure. */
void disk_watch(const char *folder, const char *skip, long at, int what, int error, int log)
{
    snprintf(root, sizeof root, "%s", folder);
    snprintf(skipped, sizeof skipped, "%s", skip);
    chosen = at;
    wanted = what;
    code = error;
    log_file = log;
    atomic_store(&calls, 0);
    atomic_store(&full, 0);
    root_length = strlen(root);
}

static void end(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

static int inside(const char *path)
{
    if (strncmp(path, root, root_length) != 0 || (path[root_length] != '/' && path[root_length] != 0))
        return 0;
    size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, "-shm") == 0)
        return 0; /* sqlite's index of its log, made anew by whoever opens the store */
    return !*skipped || !strstr(path + root_length, skipped);
}

static int of_file(int file, char *path)
{
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return inside(path);
}

static int of_name(int folder, const char *name, char *path)
{
    size_t length;
    if (!name)
        return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return inside(path);
    }
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, path, PATH_MAX) < 0)
            return 0;
    } else {
        of_file(folder, path);
    }
    length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return inside(path);
}

/* Count a call and note it down; what shall happen to it. `path` is below the folder, as `inside` found. */
static int step(const char *call, const char *path, long size, int grows)
{
    char line[PATH_MAX + 64];
    long number;
    int saved = errno;
    number = atomic_fetch_add(&calls, 1) + 1;
    if (log_file >= 0) {
        int length = snprintf(line, sizeof line, "%ld\t%s\t%ld\t%s\n", number, call, size, path + root_length);
        syscall(SYS_write, log_file, line, length);
    }
    errno = saved;
    if (atomic_load(&full) && grows)
        return FAIL;
    if (number != chosen)
        return PASS;
    if (wanted == FULL)
        atomic_store(&full, 1);
    if (wanted == BEFORE)
        end();
    return wanted == FULL ? (grows ? SHORT : PASS) : wanted;
}

#define REAL(name, type, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
        real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define FAILED                                                                                                         \
    do {                                                                                                               \
        errno = code;                                                                                                  \
        return -1;                                                                                                     \
    } while (0)

/* A call that is done whole or not at all. */
#define WHOLE(watched, call, path, grows, action)                                                                      \
    do {                                                                                                               \
        int result, fault = watched ? step(call, path, 0, grows) : PASS;                                               \
        if (fault == FAIL || fault == SHORT)                                                                           \
            FAILED;                                                                                                    \
        result = action;                                                                                               \
        if (fault == AFTER || fault == HALF)                                                                           \
            end();                                                                                                     \
        return result;                                                                                                 \
    } while (0)

/* A call that writes: it may be done by half. */
#define PART(call, size, whole, half)                                                                                  \
    do {                                                                                                               \
        char path[PATH_MAX];                                                                                           \
        ssize_t result;                                                                                                \
        int fault = root_length && of_file(file, path) ? step(call, path, (long)(size), 1) : PASS;                     \
        if (fault == FAIL || (fault == SHORT && (size) < 2))                                                           \
            FAILED;                                                                                                    \
        result = fault == SHORT || fault == HALF ? half : whole;                                                       \
        if (fault == AFTER || fault == HALF)                                                                           \
            end();                                                                                                     \
        return result;                                                                                                 \
    } while (0)

ssize_t write(int file, const void *data, size_t size)
{
    REAL("write", ssize_t, int, const void *, size_t);
    PART("write", size, real(file, data, size), real(file, data, size / 2));
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place)
{
    REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
    PART("write", size, real(file, data, size, place), real(file, data, size / 2, place));
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place)
{
    return pwrite64(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    size_t size = 0;
    REAL("writev", ssize_t, int, const struct iovec *, int);
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    PART("write", size, real(file, parts, count), real(file, parts, count > 1 ? count / 2 : count));
}

ssize_t sendfile64(int file, int source, off64_t *place, size_t size)
{
    REAL("sendfile64", ssize_t, int, int, off64_t *, size_t);
    PART("write", size, real(file, source, place, size), real(file, source, place, 1));
}

ssize_t sendfile(int file, int source, off_t *place, size_t size)
{
    return sendfile64(file, source, place, size);
}

ssize_t copy_file_range(int source, off64_t *from, int file, off64_t *to, size_t size, unsigned flags)
{
    REAL("copy_file_range", ssize_t, int, off64_t *, int, off64_t *, size_t, unsigned);
    PART("write", size, real(source, from, file, to, size, flags), real(source, from, file, to, 1, flags));
}

#define ON_FILE(name, call, grows)                                                                                     \
    int name(int file)                                                                                                 \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        REAL(#name, int, int);                                                                                         \
        WHOLE(root_length && of_file(file, path), call, path, grows, real(file));                                      \
    }

ON_FILE(fsync, "fsync", 1)
ON_FILE(fdatasync, "fsync", 1)

int ftruncate64(int file, off64_t size)
{
    char path[PATH_MAX];
    REAL("ftruncate64", int, int, off64_t);
    WHOLE(root_length && of_file(file, path), "truncate", path, 0, real(file, size));
}

int ftruncate(int file, off_t size)
{
    return ftruncate64(file, size);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    char path[PATH_MAX];
    REAL("renameat", int, int, const char *, int, const char *);
    WHOLE(root_length && of_name(to_folder, to, path), "rename", path, 0, real(from_folder, from, to_folder, to));
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int folder, const char *name, int flags)
{
    char path[PATH_MAX];
    REAL("unlinkat", int, int, const char *, int);
    WHOLE(root_length && of_name(folder, name, path), "remove", path, 0, real(folder, name, flags));
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    struct stat found;
    REAL("mkdirat", int, int, const char *, mode_t);
    WHOLE(root_length && of_name(folder, name, path) && syscall(SYS_newfstatat, AT_FDCWD, path, &found, 0) < 0, "mkdir",
          path, 1, real(folder, name, mode));
}

int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

int symlink(const char *target, const char *name)
{
    char path[PATH_MAX];
    REAL("symlink", int, const char *, const char *);
    WHOLE(root_length && of_name(AT_FDCWD, name, path), "link", path, 1, real(target, name));
}

int openat64(int folder, const char *name, int flags, ...)
{
    char path[PATH_MAX];
    struct stat found;
    mode_t mode = 0;
    int makes = 0;
    REAL("openat64", int, int, const char *, int, ...);
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (root_length && (flags & (O_CREAT | O_TRUNC)) && of_name(folder, name, path)) {
        makes = syscall(SYS_newfstatat, AT_FDCWD, path, &found, 0) < 0;
        if (!makes && !(flags & O_TRUNC))
            return real(folder, name, flags, mode); /* it is there, and is left as it is */
    } else {
        return real(folder, name, flags, mode);
    }
    WHOLE(1, makes ? "create" : "truncate", path, 1, real(folder, name, flags, mode));
}

#define OPEN(name, head, folder)                                                                                       \
    int name head                                                                                                      \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        mode_t mode;                                                                                                   \
        va_start(more, flags);                                                                                         \
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;                                             \
        va_end(more);                                                                                                  \
        return openat64(folder, path, flags, mode);                                                                    \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), folder)

int creat(const char *name, mode_t mode)
{
    return openat64(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
