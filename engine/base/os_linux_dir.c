/* os_linux_dir.c - folders of Linux: what is there, making, listing and removing. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base_internal.h"
#include "env.h"
#include "file.h"

bool apus_path_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

bool apus_path_is_dir(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static int make_dir(const char *path)
{
    if (apus_fault_now(APUS_FAULT_FILE))
        return EIO;
    if (mkdir(path, 0777) == 0)
        return 0;
    const int error = errno;
    if (error == EEXIST && apus_path_is_dir(path))
        return 0;
    return error;
}

apus_status apus_dir_create(const char *path)
{
    int error = 0;

    if (apus_path_is_dir(path))
        return APUS_OK;
    char *copy = apus_strdup(path);
    if (!copy)
        return APUS_ERR_MEMORY;
    for (char *p = copy; *p && !error; p++) {
        if (*p != '/' || p == copy)
            continue;
        *p = 0;
        if (!apus_path_is_dir(copy))
            error = make_dir(copy);
        *p = '/';
    }
    apus_free(copy);
    if (!error)
        error = make_dir(path);
    return error ? apusi_os_fail("create the folder", path, error) : APUS_OK;
}

apus_status apus_symlink_replace(const char *target, const char *link_path)
{
    apus_status st = APUS_OK;
    char *tmp = apus_format("%s.tmp.%ld", link_path, (long)getpid());

    if (!tmp)
        return APUS_ERR_MEMORY;
    unlink(tmp);
    if (apus_fault_now(APUS_FAULT_FILE))
        st = apusi_os_fail("make the link", link_path, EIO);
    else if (symlink(target, tmp) != 0)
        st = apusi_os_fail("make the link", link_path, errno);
    else {
        st = apus_path_rename(tmp, link_path);
        if (st != APUS_OK)
            unlink(tmp);
    }
    apus_free(tmp);
    return st;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Append a copy of `name` to a list that doubles its room. */
static apus_status add_name(char ***names, size_t *n, size_t *room, const char *name)
{
    APUS_FORWARD(apus_grow(names, *n, 1, room, sizeof(**names)));
    (*names)[*n] = apus_strdup(name);
    if (!(*names)[*n])
        return APUS_ERR_MEMORY;
    (*n)++;
    return APUS_OK;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        apus_free(names[i]);
    apus_free(names);
}

apus_status apus_dir_list(char ***names, size_t *n, const char *path)
{
    apus_status st = APUS_OK;
    char **list = NULL;
    size_t count = 0, room = 0;

    *names = NULL;
    *n = 0;
    DIR *dir = apus_fault_now(APUS_FAULT_FILE) ? (errno = EIO, (DIR *)NULL) : opendir(path);
    if (!dir)
        return apusi_os_fail("list", path, errno);
    while (st == APUS_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                st = apusi_os_fail("list", path, errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            st = add_name(&list, &count, &room, entry->d_name);
    }
    closedir(dir);
    if (st != APUS_OK) {
        free_names(list, count);
        return st;
    }
    if (count)
        qsort(list, count, sizeof *list, compare_names);
    *names = list;
    *n = count;
    return APUS_OK;
}

static apus_status remove_plain(const char *path, bool is_dir)
{
    if (apus_fault_now(APUS_FAULT_FILE))
        return apusi_os_fail("remove", path, EIO);
    if ((is_dir ? rmdir(path) : unlink(path)) != 0 && errno != ENOENT)
        return apusi_os_fail("remove", path, errno);
    return APUS_OK;
}

/* Recursion is as deep as the folders, and a path has at most PATH_MAX bytes. */
apus_status apus_path_remove(const char *path)
{
    apus_status st = APUS_OK;
    struct stat info;
    char **names;
    size_t n;

    if (lstat(path, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return APUS_OK;
        return apusi_os_fail("remove", path, errno);
    }
    if (!S_ISDIR(info.st_mode))
        return remove_plain(path, false);
    APUS_FORWARD(apus_dir_list(&names, &n, path));
    for (size_t i = 0; i < n && st == APUS_OK; i++) {
        char *inner = apus_path_join(path, names[i]);
        st = inner ? apus_path_remove(inner) : APUS_ERR_MEMORY;
        apus_free(inner);
    }
    free_names(names, n);
    return st == APUS_OK ? remove_plain(path, true) : st;
}

char *apus_path_absolute(const char *path)
{
    char buffer[PATH_MAX];

    if (realpath(path, buffer))
        return apus_strdup(buffer);
    if (path[0] == '/')
        return apus_strdup(path);
    if (!getcwd(buffer, sizeof buffer)) {
        apusi_os_fail("find", "the working folder", errno);
        return NULL;
    }
    return apus_path_join(buffer, path);
}

apus_status apus_disk_free(const char *path, uint64_t *bytes)
{
    struct statvfs info;
    char *at = apus_path_absolute(path);

    *bytes = 0;
    if (!at)
        return APUS_ERR_MEMORY;
    while (statvfs(at, &info) != 0) {
        char *slash = strrchr(at, '/');
        const int error = errno;
        if ((error != ENOENT && error != ENOTDIR) || !slash || strcmp(at, "/") == 0) {
            apus_free(at);
            return apusi_os_fail("measure the free space of", path, error);
        }
        slash[slash == at] = 0;
    }
    apus_free(at);
    if (!apus_mul_u64(info.f_bavail, info.f_frsize, bytes))
        *bytes = UINT64_MAX;
    return APUS_OK;
}
