/*
 * Preloaded into the program under test: while the file `READ_ONLY` is there, whatever would change a file below
 * `READ_ONLY_FOLDER` fails as on a file system that the kernel has made read-only after an error of the disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int is_on(void) {
    const char *file = getenv("READ_ONLY");
    return file && syscall(SYS_faccessat, AT_FDCWD, file, F_OK) == 0;
}

static int refused(const char *path) {
    const char *folder = getenv("READ_ONLY_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    if (!is_on() || length == 0 || strncmp(path, folder, length) != 0 || path[length] != '/')
        return 0;
    errno = EROFS;
    return 1;
}

static int refused_open(int fd) {
    char link[64], path[PATH_MAX];
    if (!is_on())
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return refused(path);
}

ssize_t write(int fd, const void *data, size_t length) {
    return refused_open(fd) ? -1 : syscall(SYS_write, fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return refused_open(fd) ? -1 : syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int ftruncate64(int fd, off64_t length) { return refused_open(fd) ? -1 : syscall(SYS_ftruncate, fd, length); }

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) { return refused(path) ? -1 : syscall(SYS_unlinkat, AT_FDCWD, path, 0); }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if ((flags & O_ACCMODE) != O_RDONLY && refused(path))
        return -1;
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}
