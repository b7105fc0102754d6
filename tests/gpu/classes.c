/* The classes of GPUs: each has caps that are whole and agree with its peaks, and opens without a
 * driver. */
#include "classes.h"
#include "gpu_test.h"

TEST(each_class_opens_without_a_driver)
{
    size_t n;
    const apus_gpu_class *classes = apus_gpu_classes(&n);

    CHECK(n == 17);
    for (size_t i = 0; i < n; i++) {
        apus_gpu *gpu = NULL;
        apus_buffer b = { 0 };

        if (!CHECK_OK(
                apus_gpu_create(&gpu, &(apus_gpu_params) { .device_class = classes[i].name })))
            continue;
        const apus_caps *caps = apus_gpu_caps(gpu);
        CHECK(apus_gpu_counts(gpu));
        CHECK(apus_gpu_class_of(gpu) == &classes[i]);
        CHECK(caps->heap == classes[i].memory && caps->max_alloc <= caps->heap);
        CHECK(caps->subgroup >= caps->subgroup_min && caps->subgroup <= caps->subgroup_max);
        CHECK(caps->max_shared >= 16384 && caps->max_invocations >= 256);
        /* Matrix engines in the table of peaks where the driver lists their shapes. */
        if (caps->device_class == APUS_CLASS_GPU)
            CHECK((apus_caps_coop(caps, APUS_F16) != NULL) == (classes[i].matrix_flops_s > 0));
        CHECK(classes[i].matrix_flops_s == 0 ||
              classes[i].matrix_flops_s > 1.9 * classes[i].f32_flops_s);
        CHECK(classes[i].bytes_s > 1e10 && classes[i].dispatch_s > 0);
        CHECK_OK(apus_buffer_create(gpu, &b, 1 << 20, APUS_MEMORY_DEVICE, "b"));
        CHECK(apus_gpu_memory(gpu).device == 1 << 20);
        apus_buffer_destroy(gpu, &b);
        apus_gpu_destroy(&gpu);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(classes[i].name, classes[k].name) != 0);
    }
}

TEST(memory_of_a_class_can_be_another)
{
    apus_gpu *gpu = NULL;
    apus_buffer b = { 0 };

    REQUIRE_OK(apus_gpu_create(
        &gpu, &(apus_gpu_params) { .device_class = "ada", .class_memory = 1 << 20 }));
    CHECK(apus_gpu_caps(gpu)->heap == 1 << 20);
    CHECK_FAILS(apus_buffer_create(gpu, &b, (1 << 20) + 1, APUS_MEMORY_DEVICE, "b"),
                APUS_ERR_MEMORY, "allows at most 1.00 MiB");
    apus_gpu_destroy(&gpu);
}

TEST(an_unknown_class_lists_those_that_there_are)
{
    apus_gpu *gpu = NULL;

    CHECK_FAILS(apus_gpu_create(&gpu, &(apus_gpu_params) { .device_class = "voodoo" }),
                APUS_ERR_ARG, "no class of devices is called 'voodoo'; there are polaris10, ");
    CHECK(!gpu);
    CHECK(strstr(apus_error_text(), "ptl, lavapipe") != NULL);
}
