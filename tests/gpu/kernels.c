/* kernels.c - the pipeline cache on disk, and shaders reloaded from source. */
#include <stdio.h>

#include "file.h"
#include "gpu.h"
#include "gpu_test.h"
#include "os.h"
#include "probe.h"

static int warnings;

static void on_log(void *user, apus_log_level level, const char *line)
{
    (void)user;
    warnings += level == APUS_LOG_WARN && strstr(line, "pipeline cache") != NULL;
}

/* The only file in the folder; caller frees. */
static char *only_file(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    char *path = NULL;

    if (!CHECK_OK(apus_dir_list(&names, &n, folder)))
        return NULL;
    if (CHECK(n == 1))
        path = apus_path_join(folder, names[0]);
    for (size_t i = 0; i < n; i++)
        apus_free(names[i]);
    apus_free(names);
    return path;
}

static void run_once(void)
{
    apus_gpu *gpu = gpu_test_open();

    if (gpu)
        CHECK_OK(apus_gpu_selftest(gpu));
    gpu_test_close(&gpu);
}

/* Written at the first close, used at the second, refused with a warning when a byte was changed or
 * the file was cut, and written anew. */
TEST(pipeline_cache)
{
    char *folder = apus_path_join(harness_folder(), "cache/of/pipelines");
    char *path = NULL, *text = NULL, *again = NULL;
    size_t bytes = 0, bytes_again = 0;
    apus_gpu *gpu = gpu_test_open();

    if (!gpu) {
        apus_free(folder);
        return;
    }
    gpu_test_close(&gpu);
    setenv("APUS_CACHE_DIR", folder, 1);
    apus_log_set(on_log, NULL, APUS_LOG_WARN);
    run_once();
    path = only_file(folder);
    REQUIRE(path);
    REQUIRE_OK(apus_file_read(&text, &bytes, path, 1 << 28));
    CHECK(bytes > 24 && memcmp(text, "APUSPC1\n", 8) == 0);
    run_once();
    CHECK_EQ_U64(warnings, 0);
    text[bytes - 1] = (char)(text[bytes - 1] ^ 1);
    CHECK_OK(apus_file_write(path, text, bytes));
    run_once();
    CHECK_EQ_U64(warnings, 1);
    REQUIRE_OK(apus_file_read(&again, &bytes_again, path, 1 << 28));
    CHECK(bytes_again > 24 && (bytes_again != bytes || memcmp(text, again, bytes) != 0));
    run_once();
    CHECK_EQ_U64(warnings, 1);
    CHECK_OK(apus_file_write(path, text, 20));
    run_once();
    CHECK_EQ_U64(warnings, 2);
    apus_log_set(NULL, NULL, APUS_LOG_WARN);
    unsetenv("APUS_CACHE_DIR");
    apus_free(again);
    apus_free(text);
    apus_free(path);
    apus_free(folder);
}

static const char source[] =
    "#version 450\n"
    "//! variant half: FACTOR=0.5 EXTRA=1\n"
    "//! variant triple: FACTOR=3\n"
    "#extension GL_EXT_buffer_reference : require\n"
    "#extension GL_EXT_buffer_reference_uvec2 : require\n"
    "layout(local_size_x_id = 0) in;\n"
    "layout(buffer_reference, std430, buffer_reference_align = 4) buffer F { float v[]; };\n"
    "layout(push_constant) uniform P { uvec2 x, y; };\n"
    "#ifndef EXTRA\n"
    "#define EXTRA 0\n"
    "#endif\n"
    "void main() { const uint i = gl_GlobalInvocationID.x;\n"
    "  F(y).v[i] = float(FACTOR) * float(i) + float(EXTRA); }\n";

static apus_status dispatch_once(apus_gpu *gpu, const char *name, const apus_buffer *b)
{
    apus_status st;
    apus_commands *c = NULL;
    uint64_t ticket;
    const uint64_t push[2] = { b->address, b->address };

    APUS_TRY(apus_commands_create(gpu, &c));
    APUS_TRY(apus_commands_begin(c));
    APUS_TRY(apus_commands_dispatch(c,
                                    &(apus_kernel_key) { .name = name, .n_spec = 1, .spec = { 8 } },
                                    push, sizeof(push), (uint32_t[]) { 1, 1, 1 }));
    APUS_TRY(apus_commands_end(c));
    APUS_TRY(apus_gpu_submit(gpu, &c, 1, &ticket));
    APUS_TRY(apus_gpu_wait(gpu, ticket, 0));
fail:
    apus_commands_destroy(&c);
    return st;
}

/* A kernel that the build does not have, by its own variants; errors name the kernel. */
TEST(reload_from_source)
{
    static const char *const version[] = { "glslc", "--version", NULL };
    char *path = apus_path_join(harness_folder(), "mine.comp");
    char *broken = apus_path_join(harness_folder(), "broken.comp");
    apus_gpu *gpu = gpu_test_open();
    apus_buffer b = { 0 };
    float got[8];

    if (gpu && apus_run(version, NULL, 0, NULL) != APUS_OK)
        harness_skip("no glslc");
    else if (gpu) {
        REQUIRE_OK(apus_file_write(path, source, sizeof(source) - 1));
        REQUIRE_OK(apus_file_write(broken, "#version 450\nvoid main() { x = 1; }\n", 36));
        setenv("APUS_SHADER_DIR", harness_folder(), 1);
        REQUIRE_OK(apus_buffer_create(gpu, &b, sizeof(got), APUS_MEMORY_DEVICE, "b"));
        CHECK_OK(dispatch_once(gpu, "mine.half", &b));
        CHECK_OK(apus_buffer_read(gpu, &b, 0, got, sizeof(got)));
        CHECK_NEAR((double)got[7], 4.5, 0);
        CHECK_OK(dispatch_once(gpu, "mine.triple", &b));
        CHECK_OK(apus_buffer_read(gpu, &b, 0, got, sizeof(got)));
        CHECK_NEAR((double)got[7], 21, 0);
        CHECK_FAILS(dispatch_once(gpu, "mine.fourth", &b), APUS_ERR_MISSING,
                    "has no line '//! variant fourth'");
        CHECK_FAILS(dispatch_once(gpu, "absent", &b), APUS_ERR_MISSING, "absent.comp");
        CHECK_FAILS(dispatch_once(gpu, "broken", &b), APUS_ERR_IO, "kernel broken: ");
        unsetenv("APUS_SHADER_DIR");
        apus_buffer_destroy(gpu, &b);
    }
    gpu_test_close(&gpu);
    apus_free(path);
    apus_free(broken);
}
