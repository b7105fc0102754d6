/* trace.c - APUS_TRACE as a user sets it: a path that cannot be written is refused at once; the
 * file is whole after a run, after one that failed, was interrupted, or lost its device. */
#include "place.h"
#include "trace_read.h"

static bool run_traced(child *c, const char *folder, const char *line, child_params p)
{
    p.folder = folder;
    p.env[0] = "APUS_TRACE=t.json";
    return run_with(c, line, &p);
}

static bool read_trace(trace_read *t, const char *folder)
{
    char *path = apus_path_join(folder, "t.json");
    const bool ok = trace_open(t, path);

    apus_free(path);
    return ok;
}

TEST(a_path_that_cannot_be_written)
{
    const char *folder = workplace();
    child c;
    char *out = apus_path_join(folder, "o");

    REQUIRE(run_with(&c, SFT FEW,
                     &(child_params) { .folder = folder, .env = { "APUS_TRACE=no/t.json" } }));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "apus sft: error: the trace (APUS_TRACE): cannot create ");
    says(&c, "no/t.json: no such file or directory");
    CHECK(!apus_path_exists(out)); /* before anything was done */
    apus_free(out);
    child_release(&c);
}

TEST(a_run_that_fails)
{
    const char *folder = workplace();
    child c;
    trace_read t;

    REQUIRE(run_traced(&c, folder, "sft --model m --dataset none.jsonl", (child_params) { 0 }));
    CHECK_EQ_U64(c.code, 1);
    says(&c, "none.jsonl");
    child_release(&c);
    if (read_trace(&t, folder))
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "open tokenizer"), 1);
    trace_release(&t);
}

TEST(a_run_that_is_interrupted)
{
    const char *folder = workplace();
    child c;
    trace_read t;

    if (!has_device())
        return;
    REQUIRE(run_traced(&c, folder, SFT FEW "--max_steps 1000000",
                       (child_params) { .interrupt_at = "'5/1000000'" }));
    CHECK_EQ_U64(c.code, 130);
    child_release(&c);
    if (read_trace(&t, folder)) {
        CHECK(trace_count(&t, TRACE_HOST, "step") >= 4);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "checkpoint"), 1);
    }
    trace_release(&t);
}

/* The second opening numbers its submissions anew. */
TEST(a_run_that_loses_its_device)
{
    const char *folder = workplace();
    child c;
    trace_read t;

    if (!has_device())
        return;
    REQUIRE(run_traced(&c, folder, SFT FEW "--max_steps 30 --save_steps 2",
                       (child_params) { .env = { NULL, "APUS_FAULT=gpu_lost:100" } }));
    CHECK_EQ_U64(c.code, 0);
    says(&c, "going on after step ");
    child_release(&c);
    if (read_trace(&t, folder)) {
        CHECK(trace_count(&t, TRACE_HOST, "step") >= 30);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "open model"), 3); /* counted, opened, again */
    }
    trace_release(&t);
}

TEST(an_answer)
{
    const char *folder = workplace();
    child c;
    trace_read t;

    if (!has_device())
        return;
    REQUIRE(run_traced(&c, folder, "infer --model m --template chatml --max_new_tokens 4",
                       (child_params) { .input = "red\n" }));
    CHECK_EQ_U64(c.code, 0);
    child_release(&c);
    if (read_trace(&t, folder)) {
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "tokenize"), 1);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "prefill"), 1);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "decode"), 1);
        if (t.clock[0] && strcmp(t.clock, "none")) {
            CHECK(trace_count(&t, TRACE_DEVICE, "prefill") >= 1);
            CHECK(trace_count(&t, TRACE_DEVICE, "attention") >= 2);
            CHECK(trace_inside(&t) > 20);
        }
    }
    trace_release(&t);
}
