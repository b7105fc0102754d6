/* reload.c - shaders from source at run time: with APUS_SHADER_DIR set, kernel "file.variant" is
 * compiled from <dir>/file.comp by glslc with the definitions of the file's own line
 *     //! variant NAME: DEF=VALUE ...
 * Edit, rerun, no rebuild.  The flags are those of shaders/CMakeLists.txt. */
#include <stdio.h>

#include "env.h"
#include "file.h"
#include "gpu_internal.h"
#include "os.h"

#define MOST_DEFS 32

bool apusi_reload_on(void)
{
    return apus_env_get(APUS_SHADER_DIR)[0] != 0;
}

/* Where the definitions of `variant` begin in the source, NULL if it has no such line. */
static const char *find_variant(const char *source, const char *variant)
{
    static const char mark[] = "//! variant ";
    const size_t n = strlen(variant);

    for (const char *line = source; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, mark, sizeof(mark) - 1) != 0)
            continue;
        const char *name = line + sizeof(mark) - 1;
        if (strncmp(name, variant, n) != 0 || !strchr(": \n", name[n]))
            continue;
        name += n;
        return *name == ':' ? name + 1 : name;
    }
    return NULL;
}

/* "-DA=1" and so on, each freed by the caller; *n counts those made also on failure. */
static apus_status read_defs(const char *at, char **defs, uint32_t *n)
{
    *n = 0;
    for (;;) {
        at += strspn(at, " \t\r");
        const size_t length = strcspn(at, " \t\r\n");

        if (length == 0)
            return APUS_OK;
        if (*n == MOST_DEFS || length > 200)
            return apus_fail(APUS_ERR_FORMAT, "too many definitions in a variant's line");
        defs[*n] = apus_format("-D%.*s", (int)length, at);
        if (!defs[*n])
            return APUS_ERR_MEMORY;
        (*n)++;
        at += length;
    }
}

/* glslc's -mfmt=num: numbers with commas between them. */
static apus_status read_words(const char *text, const char *name, uint32_t **words, size_t *bytes)
{
    size_t room = 1, n = 0;

    for (const char *p = text; *p; p++)
        room += *p == ',';
    uint32_t *out = apus_calloc(room, sizeof(*out));
    if (!out)
        return APUS_ERR_MEMORY;
    for (const char *p = text; n < room;) {
        char *end;

        p += strspn(p, ", \t\r\n");
        const unsigned long word = strtoul(p, &end, 0);
        if (end == p)
            break;
        out[n++] = (uint32_t)word;
        p = end;
    }
    if (n < 5 || out[0] != 0x07230203u) {
        apus_free(out);
        return apus_fail(APUS_ERR_DEVICE, "kernel %s: glslc gave no SPIR-V", name);
    }
    *words = out;
    *bytes = n * sizeof(*out);
    return APUS_OK;
}

static apus_status compile(const char *path, const char *include, char *const *defs,
                           uint32_t n_defs, char **text)
{
    const char *argv[16 + MOST_DEFS] = {
        apus_env_get(APUS_GLSLC), "-O", "--target-env=vulkan1.2", "-mfmt=num", "-I", include
    };
    uint32_t n = 6;

    for (uint32_t i = 0; i < n_defs; i++)
        argv[n++] = defs[i];
    argv[n++] = path;
    argv[n++] = "-o";
    argv[n++] = "-";
    argv[n] = NULL;
    return apus_run(argv, NULL, 0, text);
}

apus_status apusi_reload(const char *name, uint32_t **words, size_t *bytes)
{
    apus_status st;
    const char *dir = apus_env_get(APUS_SHADER_DIR);
    const char *dot = strchr(name, '.');
    char *defs[MOST_DEFS];
    uint32_t n_defs = 0;
    size_t source_bytes = 0;
    char *source = NULL, *text = NULL;
    char *path =
        apus_format("%s/%.*s.comp", dir, (int)(dot ? dot - name : (long)strlen(name)), name);
    char *include = apus_path_join(dir, "include");

    *words = NULL;
    *bytes = 0;
    if (!path || !include) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    APUS_TRY(apus_file_read(&source, &source_bytes, path, 1u << 20));
    if (dot) {
        const char *at = find_variant(source, dot + 1);

        if (!at) {
            st = apus_fail(APUS_ERR_MISSING, "kernel %s: %s has no line '//! variant %s'", name,
                           path, dot + 1);
            goto fail;
        }
        APUS_TRY(read_defs(at, defs, &n_defs));
    }
    st = compile(path, include, defs, n_defs, &text);
    if (st != APUS_OK) {
        char reason[2048];

        snprintf(reason, sizeof(reason), "%s", apus_error_text());
        st = apus_fail(st, "kernel %s: %s", name, reason);
        goto fail;
    }
    APUS_TRY(read_words(text, name, words, bytes));

fail:
    for (uint32_t i = 0; i < n_defs; i++)
        apus_free(defs[i]);
    apus_free(source);
    apus_free(text);
    apus_free(path);
    apus_free(include);
    return st;
}
