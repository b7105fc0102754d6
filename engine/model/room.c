/* room.c - whether what is planned fits.  See room.h. */
#include "room.h"

#include "os.h"

void apus_room_of(apus_room *out, const apus_model *model, uint64_t held)
{
    const apus_caps *caps = apus_gpu_caps(model->gpu);
    const uint64_t reached = apus_gpu_host_heap(model->gpu);

    *out = (apus_room) { .heap = caps->heap,
                         .free = apus_host_free() + held,
                         .shared = caps->integrated };
    if (!out->shared && out->free > reached)
        out->free = reached;
    memcpy(out->name, caps->name, sizeof(out->name));
}

bool apus_room_fits(const apus_room *r, uint64_t device, uint64_t host)
{
    const uint64_t both = device + host;

    return r->shared ? both <= r->heap && both <= r->free : device <= r->heap && host <= r->free;
}

const char *apus_room_short(const apus_room *r, uint64_t device, uint64_t host, uint64_t *needed,
                            uint64_t *there)
{
    if (r->shared) {
        *needed = device + host;
        *there = r->free < r->heap ? r->free : r->heap;
        return r->name;
    }
    *needed = device > r->heap ? device : host;
    *there = device > r->heap ? r->heap : r->free;
    return device > r->heap ? r->name : "the host";
}

apus_status apus_fewest(uint32_t *n, apus_status (*fits)(void *user, uint32_t n, bool *ok),
                        void *user)
{
    uint32_t few = 0, enough = *n;

    while (enough - few > 1) {
        const uint32_t middle = few + (enough - few) / 2;
        bool ok;

        APUS_FORWARD(fits(user, middle, &ok));
        enough = ok ? middle : enough;
        few = ok ? few : middle;
    }
    *n = enough;
    return APUS_OK;
}
