/* clock.c - times of the device on the host's clock, so that a trace shows both on one line.
 *
 * A device with VK_EXT_calibrated_timestamps reads both clocks at one moment, with a bound on how
 * far apart the readings were.  Another one is told by what must be: a list does not begin before
 * it was submitted and has ended when it was waited for.  The moment is moved as little as keeps
 * the newest such pair true; so it follows clocks that drift. */
#include "gpu_internal.h"
#include "os.h"
#include "trace.h"

#define AGAIN_NS 20000000u /* a calibration serves so long */

/* Whether the device can be read together with CLOCK_MONOTONIC, which apus_now_ns() is. */
static bool reads_our_clock(const apusi_physical *p, VkInstance instance)
{
    const PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT get =
        (PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)vkGetInstanceProcAddr(
            instance, "vkGetPhysicalDeviceCalibrateableTimeDomainsEXT");
    VkTimeDomainEXT domains[16];
    uint32_t n = APUS_COUNT(domains), found = 0;

    if (!get || get(p->handle, &n, domains) < 0)
        return false;
    for (uint32_t i = 0; i < n; i++)
        found |= domains[i] == VK_TIME_DOMAIN_DEVICE_EXT            ? 1u
                 : domains[i] == VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT ? 2u
                                                                    : 0u;
    return found == 3;
}

bool apusi_clock_wanted(const apusi_physical *p, VkInstance instance)
{
    return apus_trace_on() && p->caps.timestamps && p->extensions & APUSI_EXT_CALIBRATED &&
           reads_our_clock(p, instance);
}

static void calibrate(apus_gpu *gpu)
{
    static const VkCalibratedTimestampInfoEXT both[2] = {
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
          .timeDomain = VK_TIME_DOMAIN_DEVICE_EXT },
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
          .timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT },
    };
    apusi_clock *k = &gpu->clock;
    uint64_t times[2], deviation = 0;

    if (k->known && apus_now_ns() - k->host_ns < AGAIN_NS)
        return;
    if (k->read(gpu->device, 2, both, times, &deviation) != VK_SUCCESS)
        return;
    k->ticks = times[0];
    k->host_ns = times[1];
    k->known = true;
    k->deviation_ns = deviation > k->deviation_ns ? deviation : k->deviation_ns;
    apus_trace_clock(k->queue, "calibrated timestamps", k->deviation_ns);
}

void apusi_clock_init(apus_gpu *gpu)
{
    apusi_clock *k = &gpu->clock;

    k->traced = apus_trace_on();
    if (!k->traced)
        return;
    k->queue = apus_trace_queue(gpu->physical.caps.name);
    if (gpu->physical.extensions & APUSI_EXT_CALIBRATED)
        k->read = gpu->vk.vkGetCalibratedTimestampsEXT;
    if (k->read)
        calibrate(gpu);
}

bool apus_gpu_traced(apus_gpu *gpu, uint32_t *queue)
{
    if (gpu->clock.traced) /* a device may outlive a trace and see the next */
        gpu->clock.queue = apus_trace_queue(gpu->physical.caps.name);
    *queue = gpu->clock.queue;
    return gpu->clock.traced;
}

/* Ticks since the moment that is known, which may lie after them; the counter may have wrapped. */
static double ns_since(const apus_gpu *gpu, uint64_t ticks)
{
    const uint32_t bits = gpu->physical.timestamp_bits, up = bits < 64 ? 64 - bits : 0;

    return (double)((int64_t)((ticks - gpu->clock.ticks) << up) >> up) *
           gpu->physical.caps.ns_per_tick;
}

uint64_t apusi_clock_host_ns(const apus_gpu *gpu, uint64_t ticks)
{
    return gpu->clock.host_ns + (uint64_t)(int64_t)ns_since(gpu, ticks);
}

void apus_gpu_clock_sync(apus_gpu *gpu, apus_commands *first, apus_commands *last,
                         uint64_t submitted_ns, uint64_t done_ns)
{
    apusi_clock *k = &gpu->clock;
    uint64_t begin[2], end[2];

    if (!k->traced)
        return;
    if (k->read) {
        calibrate(gpu);
        return;
    }
    if (!apusi_commands_ticks(first, begin) || !apusi_commands_ticks(last, end))
        return;
    if (!k->known) {
        k->ticks = begin[0];
        k->host_ns = submitted_ns;
        k->known = true;
        k->deviation_ns = UINT64_MAX;
    }
    const uint64_t began = apusi_clock_host_ns(gpu, begin[0]);
    const uint64_t ended = apusi_clock_host_ns(gpu, end[1]);
    if (ended < began || done_ns < submitted_ns)
        return;
    /* Both ends fit somewhere in so much more time than the device took. */
    const uint64_t slack =
        done_ns - submitted_ns > ended - began ? done_ns - submitted_ns - (ended - began) : 0;
    if (slack < k->deviation_ns)
        k->deviation_ns = slack;
    apus_trace_clock(k->queue, "submit and wait", k->deviation_ns);
    if (began < submitted_ns)
        k->host_ns += submitted_ns - began;
    else if (ended > done_ns)
        k->host_ns -= ended - done_ns;
}

void apusi_clock_trace(apus_gpu *gpu, apus_commands *c, const char *name, uint64_t ticket,
                       uint64_t submitted_ns)
{
    apus_span span;

    if (!gpu->clock.traced)
        return;
    apus_gpu_clock_sync(gpu, c, c, submitted_ns, apus_now_ns());
    if (apus_commands_span(c, &span))
        apus_trace_device(&(apus_trace_span) { .queue = gpu->clock.queue,
                                               .name = apus_trace_text(name),
                                               .submission = ticket,
                                               .begin_ns = span.begin_ns,
                                               .end_ns = span.end_ns });
}
