/* fence.c - a library to preload: memory that ends at a page that nobody may touch.
 *
 * A CPU driver's device memory is ordinary memory, so a kernel that reads past the end of a
 * buffer mostly reads something else's bytes and nobody notices.  Here what a driver allocates, as
 * a mapped file or as aligned memory, lies in a range of addresses that is otherwise inaccessible,
 * with its end at the end of a page; what was freed stays inaccessible too.  A kernel that goes
 * there stops with a segmentation fault, and the test fails. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ull
#define ROOM (1ull << 42) /* of addresses: each is used once */

static _Atomic(uintptr_t) range, next;

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

/* The wrapped calls, around the wrappers. */
static void *plain_map(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

static bool ours(const void *p)
{
    return range != 0 && (uintptr_t)p >= range && (uintptr_t)p < range + ROOM;
}

/* Addresses of `pages` pages, inaccessible like those before and behind them; NULL: none left. */
static char *take(size_t pages)
{
    uintptr_t none = 0;

    if (range == 0) {
        void *p =
            plain_map(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        if (atomic_compare_exchange_strong(&range, &none, (uintptr_t)p))
            next = (uintptr_t)p + PAGE;
        else
            syscall(SYS_munmap, p, ROOM);
    }
    while (next == 0) /* another thread is about to set it */
        ;
    const uintptr_t at = atomic_fetch_add(&next, (pages + 1) * PAGE);
    return at + (pages + 1) * PAGE <= range + ROOM ? (char *)at : NULL;
}

static void give(void *at, size_t bytes)
{
    plain_map(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* ---- mapped files: device memory of newer lavapipes ---- */

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    char *to = NULL;

    if (!at && fd >= 0 && !(flags & MAP_FIXED))
        to = take((bytes + PAGE - 1) / PAGE);
    return plain_map(to ? to : at, bytes, protection, to ? flags | MAP_FIXED : flags, fd, offset);
}

int munmap(void *at, size_t bytes)
{
    if (!ours(at))
        return (int)syscall(SYS_munmap, at, bytes);
    give(at, bytes);
    return 0;
}

/* ---- aligned memory: device memory of older lavapipes ----
 *
 * A page with the size, then the pages with the memory at their end. */

int posix_memalign(void **out, size_t align, size_t bytes)
{
    const size_t unit = align < 16 ? 16 : align, end = (bytes + unit - 1) / unit * unit;
    const size_t pages = (end + PAGE - 1) / PAGE;
    char *base = bytes >= PAGE && align <= PAGE ? take(pages + 1) : NULL;
    REAL(posix_memalign);

    if (!base)
        return real(out, align, bytes);
    if (plain_map(base, (pages + 1) * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        return ENOMEM;
    memcpy(base, &bytes, sizeof(bytes));
    *out = base + (pages + 1) * PAGE - end;
    return 0;
}

static char *base_of(const void *p)
{
    return (char *)((uintptr_t)p / PAGE * PAGE - PAGE);
}

void free(void *p)
{
    size_t bytes;
    REAL(free);

    if (!ours(p)) {
        real(p);
        return;
    }
    memcpy(&bytes, base_of(p), sizeof(bytes));
    give(base_of(p), (size_t)((char *)p - base_of(p)) + bytes);
}

void *realloc(void *p, size_t bytes)
{
    size_t had;
    REAL(realloc);

    if (!ours(p))
        return real(p, bytes);
    void *to = malloc(bytes);
    if (!to)
        return NULL;
    memcpy(&had, base_of(p), sizeof(had));
    memcpy(to, p, had < bytes ? had : bytes);
    free(p);
    return to;
}
