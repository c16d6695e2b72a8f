/* Preloaded into a daemon: makes one file call of its choice fail, wait or be the last.

   $FAULT_PLAN names a file of one line, which may change while the daemon runs:
       CALL PLACE NTH ACTION [MILLISECONDS [AFTER_CALL AFTER_PLACE]]
   CALL is fsync, write, rename or unlink; PLACE is how the path ends, or *; NTH counts such calls
   since the line was written (0: every one), or since the first AFTER_CALL on AFTER_PLACE.
   ACTION: EIO, ENOSPC, EDQUOT; delay; kill (instead of the call); killed (behind it).
   Only paths under $FAULT_ROOT count. $FAULT_LOG gets a line of CLOCK_MONOTONIC seconds and path
   for every call that was hit: once it has failed, waited and returned, or before it kills. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct plan {
  char call[16], place[64], action[16], after_call[16], after_place[64];
  int nth, ms, words;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[256]; /* the line the count belongs to */
static int count, armed;

static int ends(const char *path, const char *place) {
  size_t a = strlen(path), b = strlen(place);
  return !strcmp(place, "*") || (a >= b && !strcmp(path + a - b, place));
}

static int read_plan(struct plan *plan) {
  char line[256] = {0};
  const char *file = getenv("FAULT_PLAN");
  int fd = file ? (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  ssize_t got = syscall(SYS_read, fd, line, sizeof line - 1);
  syscall(SYS_close, fd);
  memset(plan, 0, sizeof *plan);
  if (got > 0)
    plan->words = sscanf(line, "%15s %63s %d %15s %d %15s %63s", plan->call, plan->place,
                         &plan->nth, plan->action, &plan->ms, plan->after_call, plan->after_place);
  if (strcmp(line, seen)) {
    strcpy(seen, line);
    count = 0;
    armed = plan->words < 7;
  }
  return plan->words >= 4;
}

/* The action for this call, "" where it is left alone. */
static void decide(const char *call, const char *path, struct plan *plan) {
  const char *root = getenv("FAULT_ROOT");
  int hit = 0;
  if (root && !strncmp(path, root, strlen(root))) {
    pthread_mutex_lock(&lock);
    if (read_plan(plan)) {
      if (!armed)
        armed = !strcmp(plan->after_call, call) && ends(path, plan->after_place);
      else if (!strcmp(plan->call, call) && ends(path, plan->place))
        hit = ++count == plan->nth || plan->nth == 0;
    }
    pthread_mutex_unlock(&lock);
  }
  if (!hit) plan->action[0] = 0;
}

static void note(const char *path) {
  char line[600];
  struct timespec now;
  const char *file = getenv("FAULT_LOG");
  int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
  int fd = file ? (int)syscall(SYS_openat, AT_FDCWD, file, flags, 0600) : -1;
  if (fd < 0) return;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int size = snprintf(line, sizeof line, "%ld.%09ld %s\n", (long)now.tv_sec, now.tv_nsec, path);
  syscall(SYS_write, fd, line, size);
  syscall(SYS_close, fd);
}

static void die(const char *path) {
  note(path);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* Whether the call fails; errno says why. */
static int begin(const char *call, const char *path, struct plan *plan) {
  int keep = errno;
  decide(call, path, plan);
  errno = keep;
  if (!strcmp(plan->action, "kill")) die(path);
  if (!strcmp(plan->action, "delay")) usleep(plan->ms * 1000);
  int error = !strcmp(plan->action, "EIO")      ? EIO
              : !strcmp(plan->action, "ENOSPC") ? ENOSPC
              : !strcmp(plan->action, "EDQUOT") ? EDQUOT
                                                : 0;
  if (!error) return 0;
  note(path);
  errno = error;
  return 1;
}

static void end(const char *path, struct plan *plan) {
  int keep = errno;
  if (!strcmp(plan->action, "killed")) die(path);
  if (!strcmp(plan->action, "delay")) note(path);
  errno = keep;
}

static void path_of(int fd, char *path, size_t size) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int keep = errno;
  ssize_t got = readlink(name, path, size - 1);
  errno = keep;
  path[got < 0 ? 0 : got] = 0;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define RUN(call, path, failed, run)              \
  struct plan plan = {0};                         \
  if (begin(call, path, &plan)) return failed;    \
  __typeof__(run) result = run;                   \
  end(path, &plan);                                    \
  return result

#define ON_FILE(call, run)         \
  char path[512];                  \
  path_of(fd, path, sizeof path);  \
  RUN(call, path, -1, run)

int fsync(int fd) { REAL(fsync); ON_FILE("fsync", real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); ON_FILE("fsync", real(fd)); }
ssize_t write(int fd, const void *b, size_t n) { REAL(write); ON_FILE("write", real(fd, b, n)); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
  REAL(pwrite64);
  ON_FILE("write", real(fd, b, n, at));
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return pwrite64(fd, b, n, at); }
int rename(const char *from, const char *to) {
  REAL(rename);
  const char *path = from;
  RUN("rename", path, -1, real(from, to));
}
int unlink(const char *path) {
  REAL(unlink);
  RUN("unlink", path, -1, real(path));
}
