/* A sick card and a wrong clock for one process: preloaded, silent until road_sick() names its control file.
   Counts and faults only what lies on the named file system, so that the words of the tests themselves get through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t device;     /* st_dev of the sick file system */
    volatile int64_t pause_us;   /* of a synchronisation ... */
    volatile int64_t every;      /* ... each so many; 0 is never */
    volatile int64_t write_errno, sync_errno;
    volatile int64_t permille;   /* how often these come */
    volatile int64_t clock_ns;   /* added to the wall clock */
};
static struct control well, *now = &well;
static volatile int64_t synced;
static unsigned int chance = 1;

void road_sick(const char *path) {
    int fd = open(path, O_RDWR);
    void *at = mmap(0, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) now = at;
    close(fd);
    chance = (unsigned int)getpid();
}

static int ours(int fd) {
    struct stat s;
    return now != &well && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (int64_t)s.st_dev == now->device;
}
static int strikes(int64_t number) { return number && rand_r(&chance) % 1000 < now->permille; }

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int before_sync(int fd) {
    if (!ours(fd)) return 0;
    if (now->every && __sync_add_and_fetch(&synced, 1) % now->every == 0) usleep(now->pause_us);
    if (strikes(now->sync_errno)) { errno = (int)now->sync_errno; return -1; }
    return 0;
}
int fsync(int fd) { REAL(int, "fsync", int); return before_sync(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return before_sync(fd) ? -1 : real(fd); }

#define SICK_WRITE if (now->write_errno && ours(fd) && strikes(now->write_errno)) { errno = (int)now->write_errno; return -1; }
ssize_t write(int fd, const void *b, size_t n) { REAL(ssize_t, "write", int, const void *, size_t); SICK_WRITE return real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(ssize_t, "pwrite", int, const void *, size_t, off_t); SICK_WRITE return real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t); SICK_WRITE return real(fd, b, n, o); }

int clock_gettime(clockid_t id, struct timespec *t) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int code = real(id, t);
    int64_t off = now->clock_ns;
    if (code == 0 && id == CLOCK_REALTIME && off) {
        int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + off;
        t->tv_sec = ns / 1000000000;
        t->tv_nsec = ns % 1000000000;
    }
    return code;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
