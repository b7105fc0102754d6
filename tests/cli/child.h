/* child.h - running the program as a user does: a process with its own folder, output and limits.
 *
 * The program is ../bin/apus beside the test, or $APUS_TEST_PROGRAM; words of $APUS_TEST_LAUNCHER
 * stand before it (a loader that brings another Vulkan driver). */
#ifndef APUS_TEST_CHILD_H
#define APUS_TEST_CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"

enum { CHILD_WORDS = 96 };

typedef struct child {
    char *folder; /* working folder of the process */
    char *out, *err;
    int code; /* exit code; 128 + signal */
} child;

typedef struct child_params {
    const char *folder;       /* made if it is not there */
    const char *input;        /* text on stdin; NULL: none */
    const char *env[4];       /* "NAME=VALUE" */
    const char *small_disk;   /* folder that has room for 64 KiB only; exit code 125: no such */
    const char *read_only;    /* folder that cannot be written to; exit code 125: no such */
    const char *interrupt_at; /* SIGINT once this stands in what it said; NULL: never */
} child_params;

static inline void child_release(child *c)
{
    apus_free(c->folder);
    apus_free(c->out);
    apus_free(c->err);
    *c = (child) { 0 };
}

/* The first words of each command: launcher and program.  Returns their number. */
static inline size_t child_program(char **words, size_t room)
{
    static char launcher[512], program[1024];
    const char *given = getenv("APUS_TEST_LAUNCHER"), *own = getenv("APUS_TEST_PROGRAM");
    const char *slash = strrchr(program_invocation_name, '/');
    char *absolute;
    size_t n = 0;

    snprintf(launcher, sizeof(launcher), "%s", given ? given : "");
    for (char *at = launcher; n + 2 < room;) {
        at += strspn(at, " ");
        if (!*at)
            break;
        words[n++] = at;
        at += strcspn(at, " ");
        if (*at)
            *at++ = '\0';
    }
    if (own)
        snprintf(program, sizeof(program), "%s", own);
    else
        snprintf(program, sizeof(program), "%.*s/../bin/apus",
                 slash ? (int)(slash - program_invocation_name) : 1,
                 slash ? program_invocation_name : ".");
    absolute = apus_path_absolute(program);
    if (absolute)
        snprintf(program, sizeof(program), "%s", absolute);
    apus_free(absolute);
    words[n++] = program;
    return n;
}

static inline void child_become(char **words, const child_params *p, char *const paths[3])
{
    const int fds[3] = { open(paths[2], O_RDONLY),
                         open(paths[0], O_WRONLY | O_CREAT | O_TRUNC, 0600),
                         open(paths[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) };

    for (int i = 0; i < 3; i++)
        if (fds[i] < 0 || dup2(fds[i], i) < 0)
            _exit(126);
    if (chdir(p->folder) != 0)
        _exit(126);
    for (size_t i = 0; i < APUS_COUNT(p->env) && p->env[i]; i++)
        putenv((char *)(uintptr_t)p->env[i]);
    /* A file system of its own, seen by this process alone and gone with it. */
    if ((p->small_disk || p->read_only) &&
        (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) != 0 ||
         mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
        _exit(125);
    if (p->small_disk && mount("none", p->small_disk, "tmpfs", 0, "size=64k") != 0)
        _exit(125);
    if (p->read_only && mount("none", p->read_only, "tmpfs", MS_RDONLY, "size=64k") != 0)
        _exit(125);
    execvp(words[0], words);
    _exit(127);
}

static inline bool child_said(const char *path, const char *words)
{
    char *text = NULL;
    size_t bytes;
    const bool said =
        apus_file_read(&text, &bytes, path, 1 << 24) == APUS_OK && strstr(text, words) != NULL;

    apus_free(text);
    return said;
}

static inline int child_wait(pid_t pid, const child_params *p, char *const paths[3])
{
    bool waiting = p->interrupt_at != NULL;
    int status = 0;
    pid_t got;

    for (int i = 0; i < 1300; i++) { /* at most two minutes */
        got = waitpid(pid, &status, WNOHANG);
        if (got == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (waiting &&
            (child_said(paths[0], p->interrupt_at) || child_said(paths[1], p->interrupt_at))) {
            kill(pid, SIGINT);
            waiting = false;
        }
        usleep(i < 100 ? 10000 : 100000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 128 + SIGKILL;
}

/* Run `apus` with these words (NULL ends them). */
static inline bool child_run(child *c, char *const *args, const child_params *p)
{
    char *words[CHILD_WORDS];
    char *paths[3] = { apus_path_join(p->folder, ".out"), apus_path_join(p->folder, ".err"),
                       apus_path_join(p->folder, ".in") };
    const char *input = p->input ? p->input : "";
    size_t n = child_program(words, CHILD_WORDS), bytes;
    pid_t pid;

    *c = (child) { .folder = apus_strdup(p->folder), .code = -1 };
    for (; *args && n + 1 < CHILD_WORDS; args++)
        words[n++] = *args;
    words[n] = NULL;
    if (!CHECK_OK(apus_dir_create(p->folder)) ||
        !CHECK_OK(apus_file_write(paths[2], input, strlen(input))))
        return false;
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child_become(words, p, paths);
    if (!CHECK(pid > 0))
        return false;
    c->code = child_wait(pid, p, paths);
    if (apus_file_read(&c->out, &bytes, paths[0], 1 << 24) != APUS_OK)
        c->out = apus_strdup("");
    if (apus_file_read(&c->err, &bytes, paths[1], 1 << 24) != APUS_OK)
        c->err = apus_strdup("");
    for (int i = 0; i < 3; i++)
        apus_free(paths[i]);
    return true;
}

/* Words of a line, cut at spaces; "_" stands for an empty word, '~' in a word for a space.  The
 * text must outlive the words. */
static inline size_t child_split(char *line, char **words, size_t room)
{
    size_t n = 0;

    while (n + 1 < room) {
        line += strspn(line, " ");
        if (!*line)
            break;
        words[n++] = line;
        line += strcspn(line, " ");
        if (*line)
            *line++ = '\0';
        for (char *c = words[n - 1]; *c; c++)
            *c = *c == '~' ? ' ' : *c;
        if (!strcmp(words[n - 1], "_"))
            words[n - 1][0] = '\0';
    }
    words[n] = NULL;
    return n;
}

#endif
