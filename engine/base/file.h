/* file.h - files and folders.  All calls of the operating system for files live in os_*.c. */
#ifndef APUSI_FILE_H
#define APUSI_FILE_H

#include "base.h"

/* A file mapped read-only.  Borrowed memory until close.  A file that shrinks while mapped is the
 * operating system's SIGBUS; files of models are not written while read. */
typedef struct apus_map {
    const uint8_t *data;
    uint64_t bytes;
} apus_map;

/* Errors: APUS_ERR_MISSING (no such file), APUS_ERR_IO (with the system's reason). */
apus_status apus_map_open(apus_map *map, const char *path);
void apus_map_close(apus_map *map); /* safe on {0} */
/* `bytes` of a map from `data` on, read just now, are not needed soon: they leave this process's
 * memory, and are read from the file again where they are asked for. */
void apus_map_forget(const uint8_t *data, uint64_t bytes);

/* Whole file into fresh memory, NUL-terminated, at most `most` bytes; caller frees with apus_free.
 * Errors: APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT (larger than `most`), APUS_ERR_MEMORY. */
apus_status apus_file_read(char **text, size_t *bytes, const char *path, uint64_t most);
/* Write to `path`.tmp, sync, rename over `path`.  Errors: APUS_ERR_IO with the system's reason. */
apus_status apus_file_write(const char *path, const void *data, size_t bytes);
/* Append and flush (logs). */
apus_status apus_file_append(const char *path, const void *data, size_t bytes);
/* Bytes of a plain file, 0 if there is none.  Errors: APUS_ERR_IO. */
apus_status apus_file_bytes(uint64_t *bytes, const char *path);
/* Take off what was appended behind the first `bytes`; a file that is not longer stays as it is.
 * Errors: APUS_ERR_IO. */
apus_status apus_file_cut(const char *path, uint64_t bytes);

/* A file being written in pieces; nothing is seen under `path` before commit. */
typedef struct apus_writer {
    int fd;
    char *path;
    char *tmp;
    uint64_t bytes;
} apus_writer;
apus_status apus_writer_open(apus_writer *w, const char *path);
apus_status apus_writer_add(apus_writer *w, const void *data, size_t bytes);
apus_status apus_writer_commit(apus_writer *w); /* sync and rename; releases w */
void apus_writer_release(apus_writer *w);       /* drops an uncommitted file; safe on {0} */

bool apus_path_exists(const char *path);
bool apus_path_is_dir(const char *path);
apus_status apus_dir_create(const char *path); /* with parents; fine if it exists */
apus_status apus_dir_sync(const char *path);
/* Delete a file or a folder with all it holds; fine if absent. */
apus_status apus_path_remove(const char *path);
apus_status apus_path_rename(const char *from, const char *to);
apus_status apus_symlink_replace(const char *target, const char *link_path);
/* Names in a folder, sorted by bytes, without "." and ".."; free each and the array. */
apus_status apus_dir_list(char ***names, size_t *n, const char *path);
/* "a/b" from "a" and "b"; caller frees.  NULL without memory. */
char *apus_path_join(const char *a, const char *b);
const char *apus_path_base(const char *path); /* what follows the last '/' */
/* realpath, or joined with the working folder; caller frees */
char *apus_path_absolute(const char *path);
/* Free bytes of the file system that holds `path` (or its nearest existing parent). */
apus_status apus_disk_free(const char *path, uint64_t *bytes);

#endif
