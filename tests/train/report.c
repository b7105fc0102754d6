/* The report's page: facts are there, texts are escaped, charts are drawn. */
#include "report.h"

#include <math.h>
#include <stdio.h>

#include "chart.h"
#include "file.h"
#include "harness.h"

static char *write_and_read(const apus_report *report)
{
    char path[512], *page = NULL;
    size_t bytes;

    snprintf(path, sizeof path, "%s/report.html", harness_folder());
    if (CHECK_OK(apus_report_write(path, report)))
        CHECK_OK(apus_file_read(&page, &bytes, path, 1 << 20));
    return page;
}

static void check_has(const char *page, const char *words)
{
    harness_check(page && strstr(page, words), __FILE__, __LINE__, "the page has \"%s\"", words);
}

TEST(a_page_states_the_run)
{
    double steps[3] = { 1, 2, 3 }, loss[3] = { 3.0, 2.0, 1.25 }, lr[3] = { 1e-4, 5e-5, 0.0 };
    char loss_tag[] = "train/loss", lr_tag[] = "train/learning_rate";
    const apus_curve curves[2] = { { loss_tag, steps, loss, 3 }, { lr_tag, steps, lr, 3 } };
    const apus_report_pair args[2] = { { "lora_rank", "8" }, { "system", NULL } };
    const apus_report_sample sample = { "2 + 2?", "5", "4" };
    const apus_report report = {
        .model = "SmolLM2-135M",
        .method = "LoRA, rank 8",
        .device = "llvmpipe",
        .train_rows = 1190,
        .val_rows = 10,
        .rows_left_out = 3,
        .parameters = 136957248,
        .trained_parameters = 2442240,
        .planned_bytes = 3221225472u,
        .peak_bytes = 2684354560u,
        .seconds = 73.0,
        .steps = 20,
        .tokens = 7300,
        .final_loss = &loss[2],
        .curves = curves,
        .n_curves = 2,
        .args = args,
        .n_args = 2,
        .samples = &sample,
        .n_samples = 1,
    };
    char *page = write_and_read(&report);

    check_has(page, "<title>SmolLM2-135M - Apus</title>");
    check_has(page, "<td>1,190 rows, 10 for validation</td>");
    check_has(page, "<td>3 rows (the log names them)</td>");
    check_has(page, "<td>2,442,240 of 136,957,248 (1.783%)</td>");
    check_has(page, "<td>3.00 GiB planned, 2.50 GiB at the peak</td>");
    check_has(page, "<td>1m 13s</td>");
    check_has(page, "<td>20 steps, 3.65 s a step, 100 tokens a second</td>");
    check_has(page, "<th>Final loss</th><td>1.2500</td>");
    check_has(page, "<h2>Loss</h2>");
    check_has(page, "<h2>Learning rate</h2>");
    check_has(page, "<th>lora_rank</th><td>8</td>");
    check_has(page, "<th>system</th><td>null</td>");
    check_has(page, "<dt>After</dt><dd>4</dd>");
    CHECK(page && !strstr(page, "http://") && !strstr(page, "https://") &&
          !strstr(page, "<script"));
    apus_free(page);
}

TEST(every_text_is_escaped)
{
    const char *evil = "<script>alert('1')</script>&\"\x01";
    const char *safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\xef\xbf\xbd";
    double one = 1.0;
    char tag[] = "train/loss";
    const apus_curve curve = { tag, &one, &one, 1 };
    const apus_report_pair arg = { evil, evil };
    const apus_report_sample sample = { evil, evil, evil };
    char *page = write_and_read(&(apus_report) { .model = evil,
                                                 .method = evil,
                                                 .device = evil,
                                                 .folder = evil,
                                                 .curves = &curve,
                                                 .n_curves = 1,
                                                 .args = &arg,
                                                 .n_args = 1,
                                                 .samples = &sample,
                                                 .n_samples = 1 });
    size_t found = 0;

    REQUIRE(page != NULL);
    CHECK(!strstr(page, "<script") && !strchr(page, 1));
    for (const char *p = page; (p = strstr(p, safe)) != NULL; p++)
        found++;
    CHECK_EQ_U64(found,
                 10); /* title, h1, folder, method, device, key, value, three of the sample */
    apus_free(page);
}

TEST(a_chart_places_its_points)
{
    double steps[3] = { 0, 5, 10 }, values[3] = { 0.0, 1.0, 0.5 };
    char tag[] = "t";
    const apus_curve curve = { tag, steps, values, 3 };
    apus_str page = { 0 };

    apusi_chart_add(&page, &curve, false);
    /* Left edge 64, right 704, bottom 268, top 12. */
    check_has(page.data, "<polyline class='line' points='64.0,268.0 384.0,12.0 704.0,140.0'/>");
    check_has(page.data, ">0.2</text>");
    check_has(page.data, ">10</text>");
    apus_str_release(&page);
}

TEST(charts_of_odd_curves)
{
    double steps[2] = { 1, 2 }, none[2] = { (double)NAN, HUGE_VAL }, flat[2] = { 3.0, 3.0 };
    char tag[] = "t";
    apus_str page = { 0 };

    apusi_chart_add(&page, &(apus_curve) { tag, steps, none, 2 }, true);
    CHECK_EQ_STR(page.data, "<p>Nothing was logged.</p>");
    apus_str_clear(&page);
    apusi_chart_add(&page, &(apus_curve) { tag, steps, flat, 2 }, true);
    check_has(page.data, "<polyline class='line' points='64.0,140.0 704.0,140.0'/>");
    apus_str_clear(&page);
    apusi_chart_add(&page, &(apus_curve) { tag, steps, flat, 1 }, false);
    check_has(page.data, "<circle class='dot'");
    apus_str_clear(&page);
    apusi_chart_add(&page, &(apus_curve) { tag, NULL, NULL, 0 }, false);
    CHECK_EQ_STR(page.data, "<p>Nothing was logged.</p>");
    CHECK(!strstr(page.data, "nan"));
    apus_str_release(&page);
}

TEST(a_path_that_cannot_be_written_is_a_status)
{
    CHECK(apus_report_write("/dev/null/x.html", &(apus_report) { 0 }) != APUS_OK);
}
