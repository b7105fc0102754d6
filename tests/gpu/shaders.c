/* shaders.c - the SPIR-V modules of this build: how many there are and how large.  Each is compiled
 * when Apus is built and lies in the program, so both have a limit. */
#include "shaders.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"

#define MOST_MODULES 400u
#define MOST_BYTES 8000000u
#define SPIRV_MAGIC 0x07230203u

TEST(modules_are_few_and_small)
{
    size_t bytes = 0, largest = 0;

    for (size_t i = 0; i < apus_n_shaders; i++) {
        bytes += apus_shaders[i].bytes;
        if (apus_shaders[i].bytes > apus_shaders[largest].bytes)
            largest = i;
    }
    REQUIRE(apus_n_shaders > 0);
    printf("%zu SPIR-V modules of at most %u, %zu bytes of at most %u; the largest is %s, %zu\n",
           apus_n_shaders, MOST_MODULES, bytes, MOST_BYTES, apus_shaders[largest].name,
           apus_shaders[largest].bytes);
    CHECK(apus_n_shaders <= MOST_MODULES);
    CHECK(bytes <= MOST_BYTES);
}

TEST(modules_are_spirv_and_sorted)
{
    for (size_t i = 0; i < apus_n_shaders; i++) {
        CHECK(apus_shaders[i].bytes > 20); /* more than a header */
        CHECK(apus_shaders[i].bytes % 4 == 0);
        CHECK(apus_shaders[i].words[0] == SPIRV_MAGIC);
        CHECK(i == 0 || strcmp(apus_shaders[i - 1].name, apus_shaders[i].name) < 0);
    }
}
