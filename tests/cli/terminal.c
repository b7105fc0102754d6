/* The chat at a terminal: a pseudo-terminal stands for the person. */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>

#include "place.h"
#include "str.h"

typedef struct person {
    pid_t pid;
    int fd;
    apus_str seen;
    size_t at; /* what was waited for lies before */
    const char *folder;
} person;

static bool sit_down(person *p, const char *line)
{
    char *words[CHILD_WORDS], *args[CHILD_WORDS], *text = words_of(line, args);
    const char *folder = workplace();
    size_t n = child_program(words, CHILD_WORDS);

    *p = (person) { .folder = folder };
    for (size_t i = 0; args[i] && n + 1 < CHILD_WORDS; i++)
        words[n++] = args[i];
    words[n] = NULL;
    p->pid = forkpty(&p->fd, NULL, NULL, NULL);
    if (p->pid == 0) {
        setenv("TERM", "xterm", 1);
        setenv("EDITRC", "/dev/null", 1); /* libedit's keys are its own */
        if (chdir(folder) == 0)
            execvp(words[0], words);
        _exit(127);
    }
    apus_free(text);
    return CHECK(p->pid > 0);
}

static void type(const person *p, const char *keys)
{
    CHECK(write(p->fd, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

/* Read until the words came after what was waited for last; at most a minute without a byte. */
static bool sees(person *p, const char *words)
{
    char bytes[4096];

    for (;;) {
        const char *found = p->seen.data ? strstr(p->seen.data + p->at, words) : NULL;
        struct pollfd wait = { .fd = p->fd, .events = POLLIN };
        ssize_t n = 0;

        if (found) {
            p->at = (size_t)(found - p->seen.data) + strlen(words);
            return true;
        }
        if (poll(&wait, 1, 60000) == 1)
            n = read(p->fd, bytes, sizeof(bytes));
        if (n <= 0)
            break;
        apus_str_add_bytes(&p->seen, bytes, (size_t)n);
    }
    CHECK(!"the words came");
    fprintf(stderr, "not seen: %s\nseen:\n%s\n", words, p->seen.data ? p->seen.data : "");
    return false;
}

static int leave(person *p)
{
    char bytes[4096];
    int status = 0;

    while (read(p->fd, bytes, sizeof(bytes)) > 0) /* what is left, so that it is not blocked */
        ;
    CHECK(waitpid(p->pid, &status, 0) == p->pid);
    close(p->fd);
    apus_str_release(&p->seen);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define CHAT "infer --model m --template chatml --max_new_tokens 2"
#define RULE "-----\r\n"
#define SEES(words)                                                                                \
    do {                                                                                           \
        if (!sees(&p, (words))) {                                                                  \
            kill(p.pid, SIGKILL);                                                                  \
            leave(&p);                                                                             \
            return;                                                                                \
        }                                                                                          \
    } while (0)

TEST(lines_are_edited_and_come_back)
{
    person p;

    if (!has_device())
        return;
    REQUIRE(sit_down(&p, CHAT " --result_path r.jsonl"));
    SEES("<<< ");
    type(&p, "clowd\b\b\bud\033[F\n"); /* "cloud": back over three, then two letters */
    SEES(RULE);
    SEES("<<< ");
    type(&p, "\033[A");
    SEES("clud");
    type(&p, "\n");
    SEES(RULE "<<< ");
    type(&p, "exit\n");
    CHECK_EQ_U64(leave(&p), 0);
    char *path = apus_path_join(p.folder, "r.jsonl"), *text = NULL;
    size_t bytes = 0, n = 0;
    CHECK_OK(apus_file_read(&text, &bytes, path, 1 << 20));
    for (const char *at = text; at && (at = strstr(at, "\"content\": \"clud\"")) != NULL; at++)
        n++;
    CHECK_EQ_U64(n, 3); /* once in the first row, twice in the second */
    apus_free(text);
    apus_free(path);
}

TEST(interrupts_at_the_prompt)
{
    person p;

    if (!has_device())
        return;
    REQUIRE(sit_down(&p, CHAT));
    SEES("<<< ");
    type(&p, "\003");
    SEES("Ctrl-C once more, or `exit`, ends the conversation.");
    SEES("<<< ");
    for (int i = 0; i < 2; i++) { /* text is dropped, and the count starts anew */
        type(&p, "forget");
        SEES("forget"); /* by the editor: a terminal throws away what nobody has read at Ctrl-C */
        type(&p, "\003");
        SEES("<<< ");
    }
    type(&p, "red\n"); /* what was dropped is gone */
    SEES("red\r\n");
    SEES(RULE "<<< ");
    type(&p, "\003");
    SEES("Ctrl-C once more");
    SEES("<<< ");
    type(&p, "\003");
    SEES("apus infer: error: the conversation was interrupted");
    CHECK_EQ_U64(leave(&p), 130);
}

TEST(words_that_change_the_talk)
{
    person p;

    if (!has_device())
        return;
    REQUIRE(sit_down(&p, CHAT));
    SEES("<<< ");
    type(&p, "multi-line\n");
    SEES("End multi-line input with `#`.");
    SEES("<<<[M] ");
    for (int i = 0; i < 2; i++) { /* all lines are dropped, also where the last one is empty */
        type(&p, "pink\n");
        SEES("pink\r\n");
        if (i == 0) {
            type(&p, "grey");
            SEES("grey");
        }
        type(&p, "\003");
        SEES("<<<[M] ");
    }
    type(&p, "red\nblue#\n");
    SEES(RULE);
    type(&p, "/single-line#\n");
    SEES("<<< ");
    type(&p, "reset-system\n");
    SEES("<<<[S] ");
    type(&p, "You are kind.\n");
    SEES("the system prompt is set");
    type(&p, "/clear\n");
    SEES("the history is clear");
    type(&p, "/claer\n");
    SEES("no command /claer");
    SEES("Input `exit` or `quit` to exit");
    type(&p, "/help\n");
    SEES("Input `exit` or `quit` to exit");
    SEES("<<< ");
    type(&p, "\004"); /* Ctrl-D on an empty line */
    CHECK_EQ_U64(leave(&p), 0);
}
