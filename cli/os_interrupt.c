/* os_interrupt.c - signals of the operating system that ask for an end. */
#include "os_interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "base.h"

static apus_cancel *caught;
static volatile sig_atomic_t terminated;

static void stop(int sig)
{
    if (!caught || caught->requested) /* asked a second time: at once */
        _exit(128 + sig);
    terminated |= sig == SIGTERM;
    caught->requested = 1;
}

void apusi_interrupt_catch(apus_cancel *cancel)
{
    struct sigaction action = { .sa_handler = stop }; /* without SA_RESTART */

    caught = cancel;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool apusi_interrupt_is_final(void)
{
    return terminated;
}

void apusi_interrupt_leave(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    caught = NULL;
}
