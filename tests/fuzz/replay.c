/* replay.c - runs a fuzz target over the files of a corpus folder, and over every beginning of the
 * small ones, each in memory of its own size so that a sanitizer sees a read past the end. */
#include <stdio.h>

#include "file.h"
#include "fuzz.h"

#define PREFIXES_MOST 8192

static int try_one(const char *text, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);

    if (!copy)
        return 1;
    if (bytes)
        memcpy(copy, text, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
    return 0;
}

static int try_file(const char *path)
{
    char *text;
    size_t bytes;
    int bad = 0;

    if (apus_file_read(&text, &bytes, path, 1u << 24) != APUS_OK) {
        printf("%s\n", apus_error_text());
        return 1;
    }
    for (size_t n = 0; bytes <= PREFIXES_MOST && n < bytes; n++)
        bad |= try_one(text, n);
    bad |= try_one(text, bytes);
    apus_free(text);
    return bad;
}

int main(int argc, char **argv)
{
    char **names;
    size_t n;
    int bad = 0;

    if (argc != 2 || apus_dir_list(&names, &n, argv[1]) != APUS_OK) {
        printf("usage: %s CORPUS-FOLDER (%s)\n", argv[0], apus_error_text());
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        char *path = apus_path_join(argv[1], names[i]);

        bad |= !path || try_file(path);
        apus_free(path);
        apus_free(names[i]);
    }
    apus_free(names);
    printf("%zu files\n", n);
    return bad || !n;
}
