/* peak.c - what a device reaches at most: rates that are there, and that no machine exceeds. */
#include "apus/bench.h"
#include "harness.h"

TEST(rates_are_sane)
{
    apus_bench *b = NULL;
    apus_bench_peaks peaks = { -1, -1 };
    const apus_status st =
        apus_bench_open(&b, harness_fixture("tiny"), &(apus_bench_params) { .max_tokens = 16 });

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    REQUIRE_OK(st);
    CHECK_OK(apus_bench_measure_peaks(b, &peaks));
    CHECK(peaks.copy_bytes_s > 1e6 && peaks.copy_bytes_s < 1e15);
    CHECK(peaks.fma_flops_s > 1e6 && peaks.fma_flops_s < 1e17);
    apus_bench_close(&b);
}
