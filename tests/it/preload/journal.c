/*
 * Preloaded into the program under test: does what it is asked, and tells in a journal what reached the files below a
 * folder, in its order. `power_loss/disk.rs` reads it.
 *
 * An entry: kind (1 byte), length of the name (4), offset (8), length of the data (8), name, data; all little-endian.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE, SYNC, UNLINK, RENAME };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const char *folder;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("JOURNAL");
    folder = getenv("JOURNAL_FOLDER");
    if (path && folder)
        journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t length) {
    const char *next = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, journal, next, length);
        if (done <= 0)
            abort();
        next += done;
        length -= done;
    }
}

static void tell(enum kind kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    unsigned char head[21];
    uint32_t name_length = strlen(name);
    head[0] = kind;
    memcpy(head + 1, &name_length, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &length, 8);
    put(head, sizeof head);
    put(name, name_length);
    put(data, length);
}

static int below(const char *path) {
    size_t length = folder ? strlen(folder) : 0;
    return journal >= 0 && strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* Whether an open file is below the folder; writes its path to `path`. */
static int watched(int fd, char path[PATH_MAX]) {
    char link[64];
    if (journal < 0 || fd == journal)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path);
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&order);
    off_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, length);
    if (done > 0)
        tell(WRITE, path, offset, data, done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return syscall(SYS_pwrite64, fd, data, length, offset);
    pthread_mutex_lock(&order);
    ssize_t done = syscall(SYS_pwrite64, fd, data, length, offset);
    if (done > 0)
        tell(WRITE, path, offset, data, done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_ftruncate, fd, length);
    if (!failed)
        tell(TRUNCATE, path, length, "", 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synchronise(long call, int fd) {
    char path[PATH_MAX];
    if (!watched(fd, path))
        return syscall(call, fd);
    pthread_mutex_lock(&order);
    int failed = syscall(call, fd);
    if (!failed)
        tell(SYNC, path, 0, "", 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int fsync(int fd) { return synchronise(SYS_fsync, fd); }
int fdatasync(int fd) { return synchronise(SYS_fdatasync, fd); }

int unlink(const char *path) {
    if (!below(path))
        return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!failed)
        tell(UNLINK, path, 0, "", 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int rename(const char *from, const char *to) {
    if (!below(from))
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&order);
    int failed = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!failed)
        tell(RENAME, from, 0, to, strlen(to));
    pthread_mutex_unlock(&order);
    return failed;
}
