/*
 * A disk between a process and its data file (data.mdb): preloaded, it writes down what the process does to the file,
 * makes operations fail on demand, and can end the process at a chosen one.
 *
 *   FAULTY_DISK_JOURNAL     file that every operation is appended to, see disk-model.ts for its records
 *   FAULTY_DISK_CONTROL     file whose first byte says what fails: '-' nothing, 's' syncs with EIO; 'n' nothing, but no
 *                           room is said to be left; read at each operation, so it can change while the process runs
 *   FAULTY_DISK_KILL_AFTER  number of the operation at which the process gets SIGKILL, counted from 1
 *   FAULTY_DISK_SYNC_MS     how much longer than here a sync takes
 *   FAULTY_DISK_BOOT        what /proc/sys/kernel/random/boot_id says: another text is another start of the machine
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FDS 4096
enum { OTHER = 0, DATA = 1, DATA_SYNCED = 2, BOOT = 3 };

static unsigned char kinds[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const volatile char *control = "-";
static long operations, kill_after, sync_ms;
static uint32_t next_id;

struct __attribute__((packed)) record {
  uint8_t type;
  uint32_t id;
  uint64_t offset;
  uint32_t length;
};

static void note(char type, uint32_t id, uint64_t offset, const void *data, uint32_t length) {
  struct record head = {(uint8_t)type, id, offset, length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, data ? length : 0}};
  if (journal >= 0) syscall(SYS_writev, journal, parts, data ? 2 : 1);
}

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("FAULTY_DISK_JOURNAL");
  if (path) journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  path = getenv("FAULTY_DISK_CONTROL");
  if (path) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) control = map;
  }
  const char *count = getenv("FAULTY_DISK_KILL_AFTER");
  if (count) kill_after = atol(count);
  const char *slow = getenv("FAULTY_DISK_SYNC_MS");
  if (slow) sync_ms = atol(slow);
}

static int kind_of(int fd) { return fd >= 0 && fd < FDS ? kinds[fd] : OTHER; }

static int ends_with(const char *text, const char *end) {
  size_t a = strlen(text), b = strlen(end);
  return a >= b && strcmp(text + a - b, end) == 0;
}

static int opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= FDS) return fd;
  if (ends_with(path, "/data.mdb") && (flags & O_ACCMODE) != O_RDONLY) kinds[fd] = flags & O_DSYNC ? DATA_SYNCED : DATA;
  else if (getenv("FAULTY_DISK_BOOT") && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) kinds[fd] = BOOT;
  else kinds[fd] = OTHER;
  return fd;
}

#define OPEN(name)                                                                     \
  int name(const char *path, int flags, ...) {                                         \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;                  \
    va_end(rest);                                                                      \
    return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags);      \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (fd >= 0 && fd < FDS) kinds[fd] = OTHER;
  return syscall(SYS_close, fd);
}

ssize_t read(int fd, void *buffer, size_t length) {
  if (kind_of(fd) != BOOT) return syscall(SYS_read, fd, buffer, length);
  const char *boot = getenv("FAULTY_DISK_BOOT");
  size_t size = strlen(boot);
  if (size > length) size = length;
  memcpy(buffer, boot, size);
  return size;
}

/* Under the lock, before each operation. */
static void count_operation(void) {
  if (kill_after > 0 && ++operations == kill_after) raise(SIGKILL);
}

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
  int kind = kind_of(fd);
  if (kind != DATA && kind != DATA_SYNCED) return syscall(SYS_pwrite64, fd, data, length, offset);
  pthread_mutex_lock(&lock);
  count_operation();
  uint32_t id = ++next_id;
  note(kind == DATA ? 'W' : 'D', id, offset, data, length);
  ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
  if (kind == DATA_SYNCED) note('E', id, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }

static ssize_t write_parts_at(int fd, const struct iovec *parts, int count, off_t offset) {
  int kind = kind_of(fd);
  if (kind != DATA && kind != DATA_SYNCED) return syscall(SYS_pwritev, fd, parts, count, offset, 0);
  ssize_t total = 0;
  for (int part = 0; part < count; part++) {
    ssize_t written = write_at(fd, parts[part].iov_base, parts[part].iov_len, offset + total);
    if (written < 0) return total > 0 ? total : written;
    total += written;
  }
  return total;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  return write_parts_at(fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  return write_parts_at(fd, parts, count, offset);
}

/* At the file's position, which LMDB sets before it writes several pages. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
  for (int part = 0; fd == 1 && part < count; part++) note('M', 0, 0, parts[part].iov_base, parts[part].iov_len);
  if (kind_of(fd) != DATA && kind_of(fd) != DATA_SYNCED) return syscall(SYS_writev, fd, parts, count);
  ssize_t total = write_parts_at(fd, parts, count, lseek(fd, 0, SEEK_CUR));
  if (total > 0) lseek(fd, total, SEEK_CUR);
  return total;
}

ssize_t write(int fd, const void *data, size_t length) {
  if (fd == 1) note('M', 0, 0, data, length);
  if (kind_of(fd) != DATA && kind_of(fd) != DATA_SYNCED) return syscall(SYS_write, fd, data, length);
  struct iovec part = {(void *)data, length};
  return writev(fd, &part, 1);
}

static int sync_file(int fd, long call) {
  int kind = kind_of(fd);
  if (kind != DATA && kind != DATA_SYNCED) return syscall(call, fd);
  if (*control == 's') {
    errno = EIO;
    return -1;
  }
  pthread_mutex_lock(&lock);
  count_operation();
  uint32_t id = ++next_id;
  note('S', id, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  if (sync_ms > 0) usleep(sync_ms * 1000);
  int result = syscall(call, fd);
  pthread_mutex_lock(&lock);
  if (result == 0) note('T', id, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }
int fsync(int fd) { return sync_file(fd, SYS_fsync); }

static int cut(int fd, off_t length) {
  int kind = kind_of(fd);
  if (kind != DATA && kind != DATA_SYNCED) return syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&lock);
  count_operation();
  note('L', ++next_id, length, NULL, 0);
  int result = syscall(SYS_ftruncate, fd, length);
  pthread_mutex_unlock(&lock);
  return result;
}

static int room(const char *path, struct statfs *found) {
  int result = syscall(SYS_statfs, path, found);
  if (result == 0 && *control == 'n') found->f_bavail = found->f_bfree = 0;
  return result;
}

int statfs(const char *path, struct statfs *found) { return room(path, found); }
int statfs64(const char *path, struct statfs64 *found) { return room(path, (struct statfs *)found); }

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off_t length) { return cut(fd, length); }
