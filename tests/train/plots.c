/* Pictures by gnuplot: they are there, they are pictures, odd names do no harm. */
#include "plots.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "file.h"
#include "harness.h"
#include "os.h"

static bool no_gnuplot(void)
{
    static const char *const argv[] = { "gnuplot", "--version", NULL };

    if (apus_run(argv, NULL, 0, NULL) == APUS_OK)
        return false;
    harness_skip("gnuplot is not installed");
    return true;
}

/* The first bytes of a file, as a text. */
static void check_begins(const char *folder, const char *name, const char *want, size_t n)
{
    char path[700];
    char *data = NULL;
    size_t bytes;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!CHECK_OK(apus_file_read(&data, &bytes, path, 1 << 24)))
        return;
    harness_check(bytes > 500 && memcmp(data, want, n) == 0, __FILE__, __LINE__,
                  "%s begins as it should", name);
    apus_free(data);
}

static bool contains(const char *folder, const char *name, const char *words)
{
    char path[700];
    char *data = NULL;
    size_t bytes;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!CHECK_OK(apus_file_read(&data, &bytes, path, 1 << 24)))
        return false;
    const bool found = strstr(data, words) != NULL;
    apus_free(data);
    return found;
}

TEST(each_curve_is_a_png_and_an_svg)
{
    char folder[512];
    double steps[4] = { 1, 2, 3, 4 }, loss[4] = { 3.0, (double)NAN, 1.5, 1.0 };
    char train[] = "train/loss", eval[] = "eval/rewards/mean.std";
    const apus_curve curves[2] = { { train, steps, loss, 4 }, { eval, steps, loss, 1 } };

    if (no_gnuplot())
        return;
    snprintf(folder, sizeof folder, "%s/it's/images", harness_folder());
    REQUIRE_OK(apus_plots_draw(folder, curves, 2));
    check_begins(folder, "train_loss.png", "\x89PNG\r\n\x1a\n", 8);
    check_begins(folder, "train_loss.svg", "<?xml", 5);
    check_begins(folder, "eval_rewards_mean_std.png", "\x89PNG\r\n\x1a\n", 8);
    CHECK(contains(folder, "train_loss.svg", ">train/loss<"));
    /* The pale line and the smoothed one. */
    CHECK(contains(folder, "train_loss.svg", "255, 184, 158"));
    CHECK(contains(folder, "train_loss.svg", "255, 112,  67"));
}

TEST(a_tag_is_a_text_and_never_a_command)
{
    char folder[512], path[700];
    double steps[2] = { 1, 2 }, values[2] = { 0.0, 1.0 };
    char tag[] = "a'; system \"touch pwned\" #\\n_{x}";
    const apus_curve curve = { tag, steps, values, 2 };

    if (no_gnuplot())
        return;
    snprintf(folder, sizeof folder, "%s/odd", harness_folder());
    REQUIRE_OK(apus_plots_draw(folder, &curve, 1));
    snprintf(path, sizeof path, "%s/a___system__touch_pwned____n__x_.svg", folder);
    CHECK(apus_path_exists(path));
    CHECK(!apus_path_exists("pwned"));
    CHECK_FAILS(apus_plots_draw("a\nb", &curve, 1), APUS_ERR_ARG, "control character");
}

TEST(smoothing_is_a_mean_with_falling_weights)
{
    const double values[4] = { 2.0, 4.0, (double)NAN, 1.0 };
    double out[4];

    apus_curve_smooth(out, values, 4, 0.5);
    CHECK_NEAR(out[0], 2.0, 0.0);
    CHECK_NEAR(out[1], (2.0 * 0.5 + 4.0) / 1.5, 1e-15);
    CHECK_NEAR(out[2], out[1], 0.0);
    CHECK_NEAR(out[3], ((2.0 * 0.5 + 4.0) * 0.5 + 1.0) / 1.75, 1e-15);
}

TEST(without_gnuplot_there_is_a_status)
{
    char folder[512];
    char *path = apus_strdup(getenv("PATH"));

    snprintf(folder, sizeof folder, "%s/none", harness_folder());
    setenv("PATH", "/nonexistent", 1);
    CHECK_FAILS(apus_plots_draw(folder, NULL, 0), APUS_ERR_MISSING, "gnuplot is not installed");
    setenv("PATH", path, 1);
    apus_free(path);
}
