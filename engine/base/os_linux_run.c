/* os_linux_run.c - run another program: input from memory, output and complaints into memory. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_internal.h"
#include "os.h"
#include "str.h"

#define OUTPUT_MOST ((size_t)1 << 20)
#define ERRORS_MOST ((size_t)2048)

extern char **environ;

typedef struct child {
    pid_t pid;
    int in;     /* read by the child as its stdin */
    int out[2]; /* its stdout: read end, write end; -1 when closed */
    int err[2]; /* its stderr */
    apus_str output, errors;
} child;

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The input lies in an anonymous file, so that a child that does not read it blocks nobody. */
static int open_input(const void *input, size_t bytes)
{
    if (!input)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fd = memfd_create("input", MFD_CLOEXEC);
    const char *p = input;

    while (fd >= 0 && bytes) {
        const ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            close(fd);
            return -1;
        }
        p += n;
        bytes -= (size_t)n;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static apus_status spawn(child *c, const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);

    if (error)
        return apusi_os_fail("run", argv[0], error);
    error = posix_spawn_file_actions_adddup2(&actions, c->in, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, c->out[1], 1);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, c->err[1], 2);
    if (!error)
        error =
            posix_spawnp(&c->pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error ? apusi_os_fail("run", argv[0], error) : APUS_OK;
}

/* Take what has come; beyond `most` bytes it is dropped.  Closes *fd at its end. */
static void take(int *fd, apus_str *to, size_t most)
{
    char buffer[16384];
    const ssize_t n = read(*fd, buffer, sizeof buffer);

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        close_fd(fd);
        return;
    }
    const size_t room = most - to->len;
    apus_str_add_bytes(to, buffer, (size_t)n < room ? (size_t)n : room);
}

static void collect(child *c)
{
    while (c->out[0] >= 0 || c->err[0] >= 0) {
        struct pollfd wait[2] = { { .fd = c->out[0], .events = POLLIN },
                                  { .fd = c->err[0], .events = POLLIN } };
        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            break;
        if (wait[0].revents)
            take(&c->out[0], &c->output, OUTPUT_MOST);
        if (wait[1].revents)
            take(&c->err[0], &c->errors, ERRORS_MOST);
    }
}

/* Wait for the end; a program that failed is an error with its own words. */
static apus_status finish(child *c, const char *name)
{
    int state = 0;

    while (waitpid(c->pid, &state, 0) < 0) {
        if (errno != EINTR)
            return apusi_os_fail("wait for", name, errno);
    }
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return APUS_OK;
    while (c->errors.len && c->errors.data[c->errors.len - 1] == '\n')
        c->errors.data[--c->errors.len] = 0;
    const char *words = c->errors.len ? c->errors.data : "no message";
    if (WIFSIGNALED(state))
        return apus_fail(APUS_ERR_IO, "%s: ended by signal %d: %s", name, WTERMSIG(state), words);
    return apus_fail(APUS_ERR_IO, "%s: exit code %d: %s", name, WEXITSTATUS(state), words);
}

apus_status apus_run(const char *const *argv, const void *input, size_t input_bytes, char **output)
{
    apus_status st;
    child c = { .in = -1, .out = { -1, -1 }, .err = { -1, -1 } };

    if (output)
        *output = NULL;
    c.in = open_input(input, input_bytes);
    if (c.in < 0 || pipe2(c.out, O_CLOEXEC) != 0 || pipe2(c.err, O_CLOEXEC) != 0) {
        st = apus_fail(APUS_ERR_IO, "cannot run %s: no pipe: %s", argv[0], strerror(errno));
        goto fail;
    }
    APUS_TRY(spawn(&c, argv));
    close_fd(&c.out[1]);
    close_fd(&c.err[1]);
    collect(&c);
    APUS_TRY(finish(&c, argv[0]));
    apus_str_add_bytes(&c.output, "", 0);
    if (c.output.failed) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    if (output) {
        *output = c.output.data;
        c.output = (apus_str) { 0 };
    }
    st = APUS_OK;

fail:
    close_fd(&c.in);
    close_fd(&c.out[0]);
    close_fd(&c.out[1]);
    close_fd(&c.err[0]);
    close_fd(&c.err[1]);
    apus_str_release(&c.output);
    apus_str_release(&c.errors);
    return st;
}
