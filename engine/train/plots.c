/* plots.c - one gnuplot script for all pictures of a run, fed to its stdin with the numbers inline.
 * Every text in the script is quoted and every tag loses what is not fit for a file's name. */
#include "plots.h"

#include <ctype.h>
#include <math.h>

#include "file.h"
#include "os.h"
#include "str.h"

#define RAW_COLOR "#ffb89e"
#define LINE_COLOR "#ff7043"

void apus_curve_smooth(double *out, const double *values, size_t n, double weight)
{
    double sum = 0.0, norm = 0.0;

    for (size_t i = 0; i < n; i++) {
        if (isfinite(values[i])) {
            sum = sum * weight + values[i];
            norm = norm * weight + 1.0;
        }
        out[i] = norm > 0.0 ? sum / norm : values[i];
    }
}

/* 'text' with its quotes doubled. */
static void add_quoted(apus_str *s, const char *text)
{
    apus_str_add(s, "'");
    for (const char *p = text; *p; p++)
        apus_str_add_bytes(s, *p == '\'' ? "''" : p, *p == '\'' ? 2 : 1);
    apus_str_add(s, "'");
}

/* FOLDER/TAG.ENDING, quoted; "train/loss" becomes train_loss. */
static void add_file(apus_str *s, const char *folder, const char *tag, const char *ending)
{
    apus_str path = { 0 };

    apus_str_addf(&path, "%s/", folder);
    for (const char *p = tag; *p; p++) {
        const bool plain = isalnum((unsigned char)*p) || strchr("-_()@+", *p);
        apus_str_add_bytes(&path, plain ? p : "_", 1);
    }
    apus_str_addf(&path, ".%s", ending);
    if (path.failed)
        s->failed = true;
    else
        add_quoted(s, path.data);
    apus_str_release(&path);
}

/* The points as an inline block: step, value, smoothed value. */
static apus_status add_points(apus_str *s, const apus_curve *curve, size_t *points)
{
    double *smooth = apus_calloc(curve->n ? curve->n : 1, sizeof(*smooth));

    if (!smooth)
        return APUS_ERR_MEMORY;
    apus_curve_smooth(smooth, curve->values, curve->n, APUS_CURVE_WEIGHT);
    *points = 0;
    apus_str_add(s, "$points << END\n");
    for (size_t i = 0; i < curve->n; i++) {
        if (!isfinite(curve->values[i]) || !isfinite(curve->steps[i]))
            continue;
        apus_str_addf(s, "%.17g %.17g %.17g\n", curve->steps[i], curve->values[i], smooth[i]);
        ++*points;
    }
    apus_str_add(s, "END\n");
    apus_free(smooth);
    return APUS_OK;
}

static apus_status add_plot(apus_str *s, const char *folder, const apus_curve *curve)
{
    static const char *const kinds[2][2] = {
        { "png", "set terminal pngcairo noenhanced size 800,500 font 'sans,10'\n" },
        { "svg", "set terminal svg noenhanced size 800,500 font 'sans,12'\n" },
    };
    size_t points;

    APUS_FORWARD(add_points(s, curve, &points));
    if (points == 0)
        return APUS_OK;
    apus_str_add(s, "set title ");
    add_quoted(s, curve->tag);
    apus_str_add(s, "\n");
    for (size_t i = 0; i < 2; i++) {
        apus_str_add(s, kinds[i][1]);
        apus_str_add(s, "set output ");
        add_file(s, folder, curve->tag, kinds[i][0]);
        apus_str_add(s, "\nplot $points using 1:2 with ");
        if (points == 1)
            apus_str_add(s, "points pt 7 lc rgb '" LINE_COLOR "'\n");
        else if (strcmp(curve->tag, "train/loss") == 0)
            apus_str_add(s, "lines lw 1.5 lc rgb '" RAW_COLOR "', $points using 1:3 with lines "
                            "lw 2 lc rgb '" LINE_COLOR "'\n");
        else
            apus_str_add(s, "lines lw 1.5 lc rgb '" LINE_COLOR "'\n");
        apus_str_add(s, "unset output\n");
    }
    return APUS_OK;
}

apus_status apus_plots_draw(const char *folder, const apus_curve *curves, size_t n)
{
    static const char *const argv[] = { "gnuplot", "-", NULL };
    apus_str script = { 0 };
    apus_status st;

    for (const char *p = folder; *p; p++) {
        if (iscntrl((unsigned char)*p))
            return apus_fail(APUS_ERR_ARG, "plots: the folder's name has a control character");
    }
    APUS_TRY(apus_dir_create(folder));
    apus_str_add(&script, "set encoding utf8\nset key off\nset grid lc rgb '#dddddd'\n"
                          "set border 3 lc rgb '#666666'\nset tics nomirror\n"
                          "set xlabel 'step'\nset autoscale\n");
    for (size_t i = 0; i < n; i++)
        APUS_TRY(add_plot(&script, folder, &curves[i]));
    if (script.failed) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    st = apus_run(argv, script.data, script.len, NULL);
    if (st == APUS_ERR_MISSING)
        st = apus_fail(APUS_ERR_MISSING,
                       "plots: gnuplot is not installed; %s stays empty (install gnuplot-nox)",
                       folder);

fail:
    apus_str_release(&script);
    return st;
}
