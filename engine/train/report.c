/* report.c - the page: facts, curves, samples, arguments. */
#include "report.h"

#include <stdio.h>

#include "chart.h"
#include "file.h"
#include "os.h"

static const char head[] =
    "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<style>\n"
    ":root{color-scheme:light dark;--ink:#1c1b1a;--soft:#6b6864;--rule:#e3dfda;--paper:#fffdfa;"
    "--line:#d9480f;--raw:#f5c3ab}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#eceae7;--soft:#a09c97;--rule:#3a3835;"
    "--paper:#191817;--line:#ff8a5c;--raw:#6b3f2c}}\n"
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:760px;margin:0 auto;padding:24px 16px 64px}\n"
    "h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "p.under{color:var(--soft);margin:0;overflow-wrap:anywhere}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;"
    "padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);overflow-wrap:anywhere}\n"
    "th{font-weight:500;color:var(--soft);width:14rem}td{font-variant-numeric:tabular-nums}\n"
    ".args td,.args th{font:13px/1.4 ui-monospace,monospace}\n"
    "svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;"
    "fill:var(--soft)}\n.grid{stroke:var(--rule)}.line{fill:none;stroke:var(--line);"
    "stroke-width:2}.raw{fill:none;stroke:var(--raw);stroke-width:1.5}.dot{fill:var(--line)}\n"
    "dl{margin:0}dt{color:var(--soft);margin-top:.5rem}dd{margin:0;white-space:pre-wrap;"
    "overflow-wrap:anywhere}article{border-bottom:1px solid var(--rule);padding-bottom:.75rem}\n"
    "</style>\n<title>";

static void row(apus_str *page, const char *name, const char *value)
{
    apus_str_add(page, "<tr><th>");
    apusi_html_add(page, name);
    apus_str_add(page, "</th><td>");
    apusi_html_add(page, value);
    apus_str_add(page, "</td></tr>\n");
}

static void text_row(apus_str *page, const char *name, const char *value)
{
    if (value)
        row(page, name, value);
}

static void loss_row(apus_str *page, const char *name, const double *value)
{
    char text[40];

    if (!value)
        return;
    snprintf(text, sizeof text, "%.4f", *value);
    row(page, name, text);
}

/* 12,345,678 */
static void grouped(char *out, size_t room, uint64_t n)
{
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;

    for (int i = 0; i < len && at + 2 < room; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
}

static void add_counts(apus_str *page, const apus_report *r)
{
    char text[200], n[40], m[40];

    if (r->train_rows) {
        grouped(n, sizeof n, r->train_rows);
        grouped(m, sizeof m, r->val_rows);
        snprintf(text, sizeof text, r->val_rows ? "%s rows, %s for validation" : "%s rows", n, m);
        row(page, "Data", text);
    }
    if (r->rows_left_out) {
        grouped(n, sizeof n, r->rows_left_out);
        snprintf(text, sizeof text, "%s rows (the log names them)", n);
        row(page, "Left out", text);
    }
    if (r->parameters) {
        grouped(n, sizeof n, r->trained_parameters);
        grouped(m, sizeof m, r->parameters);
        snprintf(text, sizeof text, "%s of %s (%.4g%%)", n, m,
                 100.0 * (double)r->trained_parameters / (double)r->parameters);
        row(page, "Parameters trained", text);
    }
}

static void add_memory(apus_str *page, const apus_report *r)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    char text[120];

    if (!r->planned_bytes && !r->peak_bytes)
        return;
    if (r->planned_bytes && r->peak_bytes)
        snprintf(text, sizeof text, "%.2f GiB planned, %.2f GiB at the peak",
                 (double)r->planned_bytes / gib, (double)r->peak_bytes / gib);
    else
        snprintf(text, sizeof text, "%.2f GiB %s", (double)(r->planned_bytes + r->peak_bytes) / gib,
                 r->planned_bytes ? "planned" : "at the peak");
    row(page, "Device memory", text);
}

static void add_time(apus_str *page, const apus_report *r)
{
    char text[160], duration[80];

    if (!(r->seconds > 0.0))
        return;
    apus_log_duration(duration, sizeof duration, r->seconds);
    row(page, "Time", duration);
    if (r->steps) {
        const double step = r->seconds / (double)r->steps;
        const int n = snprintf(text, sizeof text, "%llu steps, %.4g s a step",
                               (unsigned long long)r->steps, step);
        if (r->tokens)
            snprintf(text + n, sizeof text - (size_t)n, ", %.4g tokens a second",
                     (double)r->tokens / r->seconds);
        row(page, "Speed", text);
    }
}

static void add_curve(apus_str *page, const apus_report *r, const char *tag, const char *title)
{
    for (size_t i = 0; i < r->n_curves; i++) {
        if (strcmp(r->curves[i].tag, tag) != 0)
            continue;
        apus_str_addf(page, "<h2>%s</h2>\n", title);
        apusi_chart_add(page, &r->curves[i], strcmp(tag, "train/loss") == 0);
        apus_str_add(page, "\n");
    }
}

static void add_answer(apus_str *page, const char *name, const char *text)
{
    if (!text)
        return;
    apus_str_addf(page, "<dt>%s</dt><dd>", name);
    apusi_html_add(page, text);
    apus_str_add(page, "</dd>");
}

static void add_lists(apus_str *page, const apus_report *r)
{
    if (r->n_samples)
        apus_str_add(page, "<h2>Before and after</h2>\n");
    for (size_t i = 0; i < r->n_samples; i++) {
        apus_str_add(page, "<article><dl>");
        add_answer(page, "Question", r->samples[i].question);
        add_answer(page, "Before", r->samples[i].before);
        add_answer(page, "After", r->samples[i].after);
        apus_str_add(page, "</dl></article>\n");
    }
    if (r->n_args)
        apus_str_add(page, "<h2>Arguments</h2>\n<table class='args'>\n");
    for (size_t i = 0; i < r->n_args; i++)
        row(page, r->args[i].key, r->args[i].value ? r->args[i].value : "null");
    if (r->n_args)
        apus_str_add(page, "</table>\n");
}

apus_status apus_report_write(const char *path, const apus_report *r)
{
    apus_str page = { 0 };
    apus_status st;
    char when[64];

    apus_local_time(when, sizeof when, "%Y-%m-%d %H:%M:%S");
    apus_str_add(&page, head);
    apusi_html_add(&page, r->model ? r->model : "Training run");
    apus_str_add(&page, " - Apus</title></head>\n<body><main>\n<h1>");
    apusi_html_add(&page, r->model ? r->model : "Training run");
    apus_str_add(&page, "</h1>\n<p class='under'>");
    apusi_html_add(&page, when);
    if (r->folder) {
        apus_str_add(&page, " \u00b7 ");
        apusi_html_add(&page, r->folder);
    }
    apus_str_add(&page, "</p>\n<h2>Run</h2>\n<table>\n");
    text_row(&page, "Method", r->method);
    text_row(&page, "Device", r->device);
    add_counts(&page, r);
    loss_row(&page, "First loss", r->first_loss);
    loss_row(&page, "Final loss", r->final_loss);
    loss_row(&page, "Evaluation loss", r->eval_loss);
    loss_row(&page, "Best metric", r->best_metric);
    add_memory(&page, r);
    add_time(&page, r);
    apus_str_add(&page, "</table>\n");
    add_curve(&page, r, "train/loss", "Loss");
    add_curve(&page, r, "eval/loss", "Evaluation loss");
    add_curve(&page, r, "train/learning_rate", "Learning rate");
    add_lists(&page, r);
    apus_str_add(&page, "</main></body></html>\n");
    st = page.failed ? APUS_ERR_MEMORY : apus_file_write(path, page.data, page.len);
    apus_str_release(&page);
    return st;
}
