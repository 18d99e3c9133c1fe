/*
 * Preloaded into the program under test: as long as the file `STUCK` exists, no write to the disk comes to an end, as on a
 * disk that is lost.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_while_stuck(void) {
    const char *path = getenv("STUCK");
    while (path && access(path, F_OK) == 0)
        usleep(10000);
}

int fsync(int file) {
    wait_while_stuck();
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_while_stuck();
    return syscall(SYS_fdatasync, file);
}
