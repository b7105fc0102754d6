/* os_linux_file.c - files of Linux: mapped, read, written aside and renamed. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_internal.h"
#include "env.h"
#include "file.h"

apus_status apusi_os_fail(const char *verb, const char *path, int error)
{
    char reason[128];
    const char *text = strerror_r(error, reason, sizeof reason);
    apus_status st = APUS_ERR_IO;

    if (error == ENOENT || error == ENOTDIR)
        st = APUS_ERR_MISSING;
    else if (error == ENOMEM)
        st = APUS_ERR_MEMORY;
    /* The system writes "No space left on device"; here it stands inside a sentence. */
    return apus_fail(st, "cannot %s %s: %c%s", verb, path, tolower((unsigned char)text[0]),
                     text[0] ? text + 1 : "");
}

/* Of what is written, a missing folder is no missing file: the caller asked to make it. */
static apus_status write_fail(const char *verb, const char *path, int error)
{
    const apus_status st = apusi_os_fail(verb, path, error);

    return st == APUS_ERR_MISSING ? APUS_ERR_IO : st;
}

/* open() with a fault for tests; -1 and errno on failure. */
static int open_file(const char *path, int flags)
{
    int fd;

    if (apus_fault_now(APUS_FAULT_FILE)) {
        errno = EIO;
        return -1;
    }
    do
        fd = open(path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Open for reading and say how long it is; folders and devices are refused. */
static apus_status open_regular(int *fd_out, uint64_t *bytes, const char *path)
{
    apus_status st;
    struct stat info;
    const int fd = open_file(path, O_RDONLY);

    if (fd < 0)
        return apusi_os_fail("open", path, errno);
    if (fstat(fd, &info) != 0)
        st = apusi_os_fail("open", path, errno);
    else if (S_ISDIR(info.st_mode))
        st = apusi_os_fail("open", path, EISDIR);
    else if (!S_ISREG(info.st_mode))
        st = apus_fail(APUS_ERR_IO, "cannot open %s: it is not a plain file", path);
    else {
        *fd_out = fd;
        *bytes = (uint64_t)info.st_size;
        return APUS_OK;
    }
    close(fd);
    return st;
}

apus_status apus_map_open(apus_map *map, const char *path)
{
    static const uint8_t nothing[1];
    apus_status st = APUS_OK;
    uint64_t bytes;
    int fd;

    *map = (apus_map) { 0 };
    APUS_FORWARD(open_regular(&fd, &bytes, path));
    if (bytes == 0) {
        map->data = nothing;
    } else {
        void *data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            st = apusi_os_fail("map", path, errno);
        else
            *map = (apus_map) { data, bytes };
    }
    close(fd);
    return st;
}

void apus_map_close(apus_map *map)
{
    if (map->bytes)
        munmap((void *)(uintptr_t)map->data, (size_t)map->bytes);
    *map = (apus_map) { 0 };
}

void apus_map_forget(const uint8_t *data, uint64_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = (uintptr_t)data / page * page, to = (uintptr_t)data + bytes;

    if (bytes)
        madvise((void *)from, to - from, MADV_DONTNEED); /* advice: that it fails is no failure */
}

/* read() until `bytes` or the end of the file; -1 and errno on failure. */
static ssize_t read_all(int fd, char *to, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        if (apus_fault_now(APUS_FAULT_FILE)) {
            errno = EIO;
            return -1;
        }
        const ssize_t n = read(fd, to + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

apus_status apus_file_read(char **text, size_t *bytes, const char *path, uint64_t most)
{
    apus_status st;
    uint64_t length;
    char *data = NULL;
    int fd;

    *text = NULL;
    *bytes = 0;
    APUS_FORWARD(open_regular(&fd, &length, path));
    if (length > most || length >= SIZE_MAX / 2) {
        st = apus_fail(APUS_ERR_FORMAT, "%s has %llu bytes, at most %llu are read", path,
                       (unsigned long long)length, (unsigned long long)most);
        goto fail;
    }
    data = apus_alloc((size_t)length + 1);
    if (!data) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    const ssize_t n = read_all(fd, data, (size_t)length);
    if (n < 0) {
        st = apusi_os_fail("read", path, errno);
        goto fail;
    }
    close(fd);
    *text = data;
    *bytes = (size_t)n;
    return APUS_OK;

fail:
    apus_free(data);
    close(fd);
    return st;
}

/* write() all of it; 0 or errno. */
static int write_all(int fd, const char *from, size_t bytes)
{
    while (bytes) {
        if (apus_fault_now(APUS_FAULT_FILE))
            return ENOSPC;
        const ssize_t n = write(fd, from, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        from += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* fsync with a fault for tests; 0 or errno.  Some file systems cannot sync a folder, and say so. */
static int sync_fd(int fd)
{
    if (apus_fault_now(APUS_FAULT_FILE))
        return EIO;
    if (fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP)
        return 0;
    return errno;
}

apus_status apus_file_append(const char *path, const void *data, size_t bytes)
{
    const int fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND);

    if (fd < 0)
        return write_fail("open", path, errno);
    int error = write_all(fd, data, bytes);
    if (close(fd) != 0 && !error)
        error = errno;
    return error ? apusi_os_fail("append to", path, error) : APUS_OK;
}

apus_status apus_file_bytes(uint64_t *bytes, const char *path)
{
    int fd;
    const apus_status st = open_regular(&fd, bytes, path);

    if (st == APUS_OK)
        close(fd);
    else
        *bytes = 0;
    return st == APUS_ERR_MISSING ? APUS_OK : st;
}

apus_status apus_file_cut(const char *path, uint64_t bytes)
{
    uint64_t there;

    APUS_FORWARD(apus_file_bytes(&there, path));
    if (there <= bytes)
        return APUS_OK;
    const int fd = open_file(path, O_WRONLY);
    if (fd < 0)
        return write_fail("open", path, errno);
    int error = ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
    if (close(fd) != 0 && !error)
        error = errno;
    return error ? apusi_os_fail("shorten", path, error) : APUS_OK;
}

apus_status apus_writer_open(apus_writer *w, const char *path)
{
    apus_status st;

    *w = (apus_writer) { .fd = -1 };
    w->path = apus_strdup(path);
    w->tmp = w->path ? apus_format("%s.tmp.%ld", path, (long)getpid()) : NULL;
    if (!w->tmp) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    w->fd = open_file(w->tmp, O_WRONLY | O_CREAT | O_TRUNC);
    if (w->fd < 0) {
        st = write_fail("create", path, errno);
        goto fail;
    }
    return APUS_OK;

fail:
    apus_writer_release(w);
    return st;
}

apus_status apus_writer_add(apus_writer *w, const void *data, size_t bytes)
{
    const int error = write_all(w->fd, data, bytes);

    if (error)
        return apusi_os_fail("write", w->path, error);
    w->bytes += bytes;
    return APUS_OK;
}

/* Sync the folder that holds `path`, so that a rename in it outlives a power cut. */
static apus_status sync_parent(const char *path)
{
    const char *base = apus_path_base(path);
    char *parent = base == path ? apus_strdup(".") : apus_strndup(path, (size_t)(base - path));

    if (!parent)
        return APUS_ERR_MEMORY;
    const apus_status st = apus_dir_sync(parent);
    apus_free(parent);
    return st;
}

apus_status apus_writer_commit(apus_writer *w)
{
    apus_status st = APUS_OK;
    int error = sync_fd(w->fd);

    if (close(w->fd) != 0 && !error)
        error = errno;
    w->fd = -1;
    if (error)
        st = apusi_os_fail("write", w->path, error);
    if (st == APUS_OK)
        st = apus_path_rename(w->tmp, w->path);
    if (st == APUS_OK) {
        apus_free(w->tmp);
        w->tmp = NULL; /* renamed: nothing to drop */
        st = sync_parent(w->path);
    }
    apus_writer_release(w);
    return st;
}

void apus_writer_release(apus_writer *w)
{
    /* The descriptor of {0} is 0, which is not ours: only a writer with a name was opened. */
    if (w->path && w->fd >= 0)
        close(w->fd);
    if (w->tmp)
        unlink(w->tmp);
    apus_free(w->tmp);
    apus_free(w->path);
    *w = (apus_writer) { .fd = -1 };
}

apus_status apus_dir_sync(const char *path)
{
    const int fd = open_file(path, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return apusi_os_fail("open", path, errno);
    const int error = sync_fd(fd);
    close(fd);
    return error ? apusi_os_fail("sync", path, error) : APUS_OK;
}

apus_status apus_path_rename(const char *from, const char *to)
{
    if (apus_fault_now(APUS_FAULT_FILE))
        return apusi_os_fail("rename to", to, EIO);
    if (rename(from, to) == 0)
        return APUS_OK;
    const int error = errno;
    struct stat info;
    /* ENOENT may mean either name; say the one that is not there. */
    if (error == ENOENT && lstat(from, &info) != 0)
        return apusi_os_fail("rename", from, error);
    return apusi_os_fail("rename to", to, error);
}
