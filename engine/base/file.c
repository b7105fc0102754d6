/* file.c - what of files needs no call of the operating system: names, and whole files. */
#include "file.h"

char *apus_path_join(const char *a, const char *b)
{
    const size_t n = strlen(a);

    if (!n || b[0] == '/')
        return apus_strdup(b);
    return apus_format("%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

const char *apus_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

apus_status apus_file_write(const char *path, const void *data, size_t bytes)
{
    apus_status st;
    apus_writer w = { 0 };

    APUS_TRY(apus_writer_open(&w, path));
    APUS_TRY(apus_writer_add(&w, data, bytes));
    APUS_TRY(apus_writer_commit(&w));
    return APUS_OK;

fail:
    apus_writer_release(&w);
    return st;
}
