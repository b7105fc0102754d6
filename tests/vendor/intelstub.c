/* intelstub.c - the files of an Intel GPU that is not there, and the system calls that look at
 * them.  See intelstub.h.
 *
 * APUS_INTEL_GPU names the GPU.  A temporary folder holds what the kernel would show in /dev/dri
 * and /sys; calls with such paths are sent there. */
#include "intelstub.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NODE 128 /* renderD128 */
#define DRM_MAJOR 226

static const stub_gpu gpus[] = {
    { "skl", 0x1912, 6, false, 3, 8, 0, true, 12000000, { 0 } },
    { "tgl", 0x9a49, 1, false, 6, 16, 0, true, 19200000, { 0 } },
    { "dg2", 0x56a0, 8, false, 32, 16, 16384, false, 19200000, { 0 } },
    { "mtl", 0x7d55, 4, false, 8, 16, 0, false, 19200000, { 12, 71, 4 } },
    { "lnl", 0x64a0, 4, true, 8, 8, 0, false, 19200000, { 20, 4, 4 } },
    { "bmg", 0xe20b, 0, true, 20, 8, 12288, false, 19200000, { 20, 1, 4 } },
    { "ptl", 0xb080, 0, true, 12, 8, 0, false, 19200000, { 30, 0, 4 } },
};

const stub_gpu *stub;
int stub_file = -1;

static char root[64];
static struct stat node;
static pid_t owner;

/* ---- the folder ---- */

/* The folder's own calls go around the wrappers below, which would look for its paths. */
static int plain_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void put(const char *name, const void *data, size_t bytes)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/pci/%s", root, name);
    const int fd = plain_open(path, O_CREAT | O_WRONLY);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
        fprintf(stderr, "intelstub: %s cannot be written\n", path);
    if (fd >= 0)
        close(fd);
}

static void put_text(const char *name, const char *format, unsigned value)
{
    char text[32];

    snprintf(text, sizeof(text), format, value);
    put(name, text, strlen(text));
}

static const char *const folders[] = {
    "", "/dri", "/pci", "/pci/drm", "/pci/drm/renderD128", "/char", "/char/226:128"
};
static const char *const files[] = {
    "/dri/renderD128", "/char/226:128/device", "/pci/subsystem",        "/pci/driver",
    "/pci/vendor",     "/pci/device",          "/pci/subsystem_vendor", "/pci/subsystem_device",
    "/pci/revision",   "/pci/class",           "/pci/uevent",           "/pci/config",
};

static const char *in_root(char path[128], const char *name)
{
    snprintf(path, 128, "%s%s", root, name);
    return path;
}

static bool make_links(void)
{
    char path[128], device[128];

    return symlink(in_root(device, "/pci"), in_root(path, files[1])) == 0 &&
           symlink("/sys/bus/pci", in_root(path, files[2])) == 0 &&
           symlink(stub->xe ? "/sys/bus/pci/drivers/xe" : "/sys/bus/pci/drivers/i915",
                   in_root(path, files[3])) == 0;
}

static void make_files(void)
{
    char event[200];
    const unsigned char config[64] = {
        0x86, 0x80, stub->id & 255, (unsigned char)(stub->id >> 8), 0, 0, 0, 0, stub->revision
    };

    put_text("vendor", "0x%04x\n", 0x8086);
    put_text("device", "0x%04x\n", stub->id);
    put_text("subsystem_vendor", "0x%04x\n", 0x8086);
    put_text("subsystem_device", "0x%04x\n", 1);
    put_text("revision", "0x%02x\n", stub->revision);
    put_text("class", "0x%06x\n", 0x030000);
    snprintf(event, sizeof(event),
             "DRIVER=%s\nPCI_CLASS=30000\nPCI_ID=8086:%04X\nPCI_SUBSYS_ID=8086:0001\n"
             "PCI_SLOT_NAME=0000:%02x:%02x.0\n",
             stub->xe ? "xe" : "i915", stub->id, stub->vram_mb ? 3 : 0, stub->vram_mb ? 0 : 2);
    put("uevent", event, strlen(event));
    put("config", config, sizeof(config));
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("APUS_INTEL_GPU");
    char path[128];

    for (size_t i = 0; name && i < sizeof(gpus) / sizeof(gpus[0]); i++)
        if (!strcmp(gpus[i].name, name))
            stub = &gpus[i];
    if (!stub)
        return;
    owner = getpid();
    snprintf(root, sizeof(root), "/dev/shm/intelstub.XXXXXX");
    if (!mkdtemp(root)) {
        snprintf(root, sizeof(root), "/tmp/intelstub.XXXXXX");
        if (!mkdtemp(root)) {
            stub = NULL;
            return;
        }
    }
    for (size_t i = 1; i < sizeof(folders) / sizeof(folders[0]); i++)
        mkdir(in_root(path, folders[i]), 0700);
    make_files();
    stub_file = plain_open(in_root(path, files[0]), O_CREAT | O_RDWR);
    if (!make_links() || stub_file < 0 || syscall(SYS_fstat, stub_file, &node) != 0) {
        fprintf(stderr, "intelstub: %s cannot be filled\n", root);
        stub = NULL;
    }
}

__attribute__((destructor)) static void end(void)
{
    char path[128];

    if (!stub || owner != getpid())
        return;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(in_root(path, files[i]));
    for (size_t i = sizeof(folders) / sizeof(folders[0]); i-- > 0;)
        rmdir(in_root(path, folders[i]));
}

/* ---- paths ---- */

static const char *map(const char *path, char buffer[PATH_MAX])
{
    static const struct {
        const char *from, *to;
    } moved[] = {
        { "/dev/dri", "/dri" },
        { "/sys/dev/char/226:", "/char/226:" },
        { "/sys/class/drm/renderD", "/char/226:" },
    };

    for (size_t i = 0; stub && i < sizeof(moved) / sizeof(moved[0]); i++) {
        const size_t n = strlen(moved[i].from);
        if (!strncmp(path, moved[i].from, n)) {
            snprintf(buffer, PATH_MAX, "%s%s%s", root, moved[i].to, path + n);
            return buffer;
        }
    }
    return path;
}

/* The device's file looks like a device. */
static int dress(int result, dev_t device, ino_t inode, mode_t *mode, dev_t *rdev)
{
    if (result == 0 && stub && device == node.st_dev && inode == node.st_ino) {
        *mode = S_IFCHR | 0666;
        *rdev = makedev(DRM_MAJOR, NODE);
    }
    return result;
}

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define PATH_CALL(result, name, params, args)                                                      \
    result name params                                                                             \
    {                                                                                              \
        char buffer[PATH_MAX];                                                                     \
        REAL(name);                                                                                \
        return real args;                                                                          \
    }
PATH_CALL(FILE *, fopen, (const char *path, const char *mode), (map(path, buffer), mode))
PATH_CALL(FILE *, fopen64, (const char *path, const char *mode), (map(path, buffer), mode))
PATH_CALL(DIR *, opendir, (const char *path), (map(path, buffer)))
PATH_CALL(int, access, (const char *path, int mode), (map(path, buffer), mode))
PATH_CALL(ssize_t, readlink, (const char *path, char *to, size_t n), (map(path, buffer), to, n))
PATH_CALL(ssize_t, readlinkat, (int fd, const char *path, char *to, size_t n),
          (fd, map(path, buffer), to, n))
PATH_CALL(char *, realpath, (const char *path, char *to), (map(path, buffer), to))

#define OPEN_CALL(name, params, args)                                                              \
    int name params                                                                                \
    {                                                                                              \
        char buffer[PATH_MAX];                                                                     \
        unsigned mode = 0;                                                                         \
        REAL(name);                                                                                \
        if (flags & O_CREAT) {                                                                     \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, unsigned);                                                         \
            va_end(list);                                                                          \
        }                                                                                          \
        return real args;                                                                          \
    }
OPEN_CALL(open, (const char *path, int flags, ...), (map(path, buffer), flags, mode))
OPEN_CALL(open64, (const char *path, int flags, ...), (map(path, buffer), flags, mode))
OPEN_CALL(openat, (int fd, const char *path, int flags, ...), (fd, map(path, buffer), flags, mode))
OPEN_CALL(openat64, (int fd, const char *path, int flags, ...),
          (fd, map(path, buffer), flags, mode))

/* Names that the C library's checked headers call. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open64(path, flags);
}

char *__realpath_chk(const char *path, char *to, size_t n);
char *__realpath_chk(const char *path, char *to, size_t n)
{
    (void)n;
    return realpath(path, to);
}

ssize_t __readlink_chk(const char *path, char *to, size_t n, size_t room);
ssize_t __readlink_chk(const char *path, char *to, size_t n, size_t room)
{
    (void)room;
    return readlink(path, to, n);
}

#define STAT_CALL(name, params, args)                                                              \
    int name params                                                                                \
    {                                                                                              \
        char buffer[PATH_MAX];                                                                     \
        (void)buffer;                                                                              \
        REAL(name);                                                                                \
        const int result = real args;                                                              \
        return dress(result, s->st_dev, s->st_ino, &s->st_mode, &s->st_rdev);                      \
    }
STAT_CALL(stat, (const char *path, struct stat *s), (map(path, buffer), s))
STAT_CALL(stat64, (const char *path, struct stat64 *s), (map(path, buffer), s))
STAT_CALL(lstat, (const char *path, struct stat *s), (map(path, buffer), s))
STAT_CALL(lstat64, (const char *path, struct stat64 *s), (map(path, buffer), s))
STAT_CALL(fstat, (int fd, struct stat *s), (fd, s))
STAT_CALL(fstat64, (int fd, struct stat64 *s), (fd, s))
STAT_CALL(fstatat, (int fd, const char *path, struct stat *s, int flags),
          (fd, map(path, buffer), s, flags))
STAT_CALL(fstatat64, (int fd, const char *path, struct stat64 *s, int flags),
          (fd, map(path, buffer), s, flags))

/* ---- ioctl ---- */

static bool is_node(int fd)
{
    struct stat s;

    return stub && syscall(SYS_fstat, fd, &s) == 0 && s.st_dev == node.st_dev &&
           s.st_ino == node.st_ino;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    REAL(ioctl);

    va_start(list, request);
    void *arg = va_arg(list, void *);
    va_end(list);
    if (!is_node(fd))
        return real(fd, request, arg);
    const unsigned nr = _IOC_NR(request);
    int error = ENOTTY;
    if (_IOC_TYPE(request) == DRM_IOCTL_BASE && (nr < DRM_COMMAND_BASE || nr >= DRM_COMMAND_END))
        error = stub_core(nr, arg);
    else if (_IOC_TYPE(request) == DRM_IOCTL_BASE)
        error =
            stub->xe ? stub_xe(nr - DRM_COMMAND_BASE, arg) : stub_i915(nr - DRM_COMMAND_BASE, arg);
    if (error == 0)
        return 0;
    if (getenv("APUS_INTEL_TRACE"))
        fprintf(stderr, "intelstub: ioctl 0x%x: %s\n", nr, strerror(error));
    errno = error;
    return -1;
}
