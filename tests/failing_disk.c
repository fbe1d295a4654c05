/* For tests, loaded by LD_PRELOAD: whatever changes the disk below one folder is counted, and the disk fails at the n-th change, or
   the folder is copied before each change: what a SIGKILL at that moment leaves behind. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OFF, COUNT, FULL, ONCE, COPY };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int mode = OFF;
static long count, failing;
static char root[4096], copies[4096], kinds[1 << 20];

/* Begin to watch a folder. FULL: from the n-th change on nothing can be written; ONCE: only the n-th fails; COPY: before each change
   the folder is copied to `into`/n. */
void watch(const char *folder, int how, long n, const char *into) {
    snprintf(root, sizeof root, "%s", folder);
    snprintf(copies, sizeof copies, "%s", into);
    count = 0, failing = n, kinds[0] = 0, mode = how;
}

long changes(void) { mode = OFF; return count; }
const char *changed(void) { return kinds; }

static int is_inside(const char *path) {
    size_t length = strlen(root);
    return path && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int absolute_inside(const char *path) {
    char whole[8192];
    if (path && path[0] == '/') return is_inside(path);
    if (!path || !getcwd(whole, sizeof whole - 4096)) return 0;
    strncat(whole, "/", 2), strncat(whole, path, 4000);
    return is_inside(whole);
}

static int open_inside(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

static void copy_folder(void) {
    char into[8192], from[4200];
    snprintf(into, sizeof into, "%s/%06ld", copies, count);
    snprintf(from, sizeof from, "%s/.", root);
    char *command[] = {"cp", "-a", from, into, NULL}, *empty[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t child;
    if (!posix_spawnp(&child, "cp", NULL, NULL, command, empty)) waitpid(child, NULL, 0);
}

/* Whether a change is to fail; `takes_room` is false for a removal, which a full disk allows. */
static int fails(const char *kind, int takes_room) {
    int result = 0;
    pthread_mutex_lock(&mutex);
    if (mode != OFF) {
        count++;
        if (strlen(kinds) < sizeof kinds - 64) strcat(strcat(kinds, kind), " ");
        if (mode == COPY) copy_folder();
        result = (mode == FULL && count >= failing && takes_room) || (mode == ONCE && count == failing);
    }
    pthread_mutex_unlock(&mutex);
    if (result) errno = mode == FULL ? ENOSPC : EIO;
    return result;
}

#define TRUE(name, type) static type (*true_##name)(); if (!true_##name) true_##name = (type (*)()) dlsym(RTLD_NEXT, #name)
#define OF_DESCRIPTOR(kind, descriptor) (mode != OFF && open_inside(descriptor) && fails(kind, 1))
#define OF_PATH(kind, path, room) (mode != OFF && absolute_inside(path) && fails(kind, room))

ssize_t write(int fd, const void *data, size_t size) { TRUE(write, ssize_t); return OF_DESCRIPTOR("write", fd) ? -1 : true_write(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { TRUE(pwrite, ssize_t); return OF_DESCRIPTOR("write", fd) ? -1 : true_pwrite(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { TRUE(pwrite64, ssize_t); return OF_DESCRIPTOR("write", fd) ? -1 : true_pwrite64(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *parts, int n) { TRUE(writev, ssize_t); return OF_DESCRIPTOR("write", fd) ? -1 : true_writev(fd, parts, n); }
ssize_t sendfile(int to, int from, off_t *at, size_t size) { TRUE(sendfile, ssize_t); return OF_DESCRIPTOR("write", to) ? -1 : true_sendfile(to, from, at, size); }
ssize_t sendfile64(int to, int from, off_t *at, size_t size) { TRUE(sendfile64, ssize_t); return OF_DESCRIPTOR("write", to) ? -1 : true_sendfile64(to, from, at, size); }
size_t fwrite(const void *data, size_t size, size_t n, FILE *file) { TRUE(fwrite, size_t); return OF_DESCRIPTOR("write", fileno(file)) ? 0 : true_fwrite(data, size, n, file); }
int fsync(int fd) { TRUE(fsync, int); return OF_DESCRIPTOR("fsync", fd) ? -1 : true_fsync(fd); }
int fdatasync(int fd) { TRUE(fdatasync, int); return OF_DESCRIPTOR("fsync", fd) ? -1 : true_fdatasync(fd); }
int ftruncate(int fd, off_t size) { TRUE(ftruncate, int); return OF_DESCRIPTOR("truncate", fd) ? -1 : true_ftruncate(fd, size); }
int ftruncate64(int fd, off_t size) { TRUE(ftruncate64, int); return OF_DESCRIPTOR("truncate", fd) ? -1 : true_ftruncate64(fd, size); }
int rename(const char *from, const char *to) { TRUE(rename, int); return OF_PATH("rename", to, 1) ? -1 : true_rename(from, to); }
int renameat(int a, const char *from, int b, const char *to) { TRUE(renameat, int); return OF_PATH("rename", to, 1) ? -1 : true_renameat(a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned how) { TRUE(renameat2, int); return OF_PATH("rename", to, 1) ? -1 : true_renameat2(a, from, b, to, how); }
int mkdir(const char *path, mode_t bits) { TRUE(mkdir, int); return OF_PATH("mkdir", path, 1) ? -1 : true_mkdir(path, bits); }
int unlink(const char *path) { TRUE(unlink, int); return OF_PATH("unlink", path, 0) ? -1 : true_unlink(path); }
int rmdir(const char *path) { TRUE(rmdir, int); return OF_PATH("rmdir", path, 0) ? -1 : true_rmdir(path); }
int unlinkat(int fd, const char *path, int flags) { TRUE(unlinkat, int); return mode != OFF && open_inside(fd) && fails("unlink", 0) ? -1 : true_unlinkat(fd, path, flags); }

/* A file that is opened to be written may be made or emptied by that alone. */
#define OPEN(name) \
int name(const char *path, int flags, ...) { \
    TRUE(name, int); \
    va_list more; va_start(more, flags); int bits = va_arg(more, int); va_end(more); \
    return (flags & (O_CREAT | O_TRUNC)) && OF_PATH("open", path, 1) ? -1 : true_##name(path, flags, bits); \
}
OPEN(open)
OPEN(open64)
FILE *fopen(const char *path, const char *how) { TRUE(fopen, FILE *); return how[0] != 'r' && OF_PATH("open", path, 1) ? NULL : true_fopen(path, how); }
FILE *fopen64(const char *path, const char *how) { TRUE(fopen64, FILE *); return how[0] != 'r' && OF_PATH("open", path, 1) ? NULL : true_fopen64(path, how); }
