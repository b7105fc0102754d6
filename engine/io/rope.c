/* rope.c - rotary frequencies, in single precision and in the order of operations of transformers'
 * modeling_rope_utils, whose values a model was trained with.  (There a number over a tensor is the
 * tensor's reciprocal times the number.) */
#include <math.h>

#include "config.h"

static const double pi = 3.14159265358979323846;

static void default_frequencies(const apus_config *c, float *inv_freq)
{
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        inv_freq[i] = 1.0f / powf((float)c->rope_theta, (float)(2 * i) / (float)c->head_dim);
}

/* Llama 3: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static void llama3_frequencies(const apus_config *c, float *inv_freq)
{
    const apus_rope_scaling *r = &c->rope;
    const float low_wavelen = (float)(r->original_max / r->low_freq_factor);
    const float high_wavelen = (float)(r->original_max / r->high_freq_factor);
    const float factor = (float)r->factor;

    for (uint32_t i = 0; i < c->head_dim / 2; i++) {
        const float wavelen = 1.0f / inv_freq[i] * (float)(2 * pi);

        if (wavelen > low_wavelen) {
            inv_freq[i] = inv_freq[i] / factor;
        } else if (!(wavelen < high_wavelen)) {
            const float turns = 1.0f / wavelen * (float)r->original_max;
            const float smooth = (turns - (float)r->low_freq_factor) /
                                 (float)(r->high_freq_factor - r->low_freq_factor);

            inv_freq[i] = (1.0f - smooth) * inv_freq[i] / factor + smooth * inv_freq[i];
        }
    }
}

/* The pair whose wavelength turns `rotations` times in the first training's positions. */
static double correction_dim(const apus_config *c, double rotations)
{
    return c->head_dim * log(c->rope.original_max / (rotations * 2 * pi)) /
           (2 * log(c->rope_theta));
}

static double mscale(double factor, double by)
{
    return factor <= 1 ? 1.0 : 0.1 * by * log(factor) + 1.0;
}

static void yarn_frequencies(const apus_config *c, float *inv_freq, float *attention_scale)
{
    const apus_rope_scaling *r = &c->rope;
    double low = correction_dim(c, r->beta_fast), high = correction_dim(c, r->beta_slow);
    double scale = r->attention_factor;

    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < c->head_dim - 1 ? high : c->head_dim - 1;
    if (low == high)
        high += 0.001;
    for (uint32_t i = 0; i < c->head_dim / 2; i++) {
        const float pos_freq = powf((float)c->rope_theta, (float)(2 * i) / (float)c->head_dim);
        const float ramp = ((float)i - (float)low) / (float)(high - low);
        const float keep = 1.0f - (ramp < 0 ? 0.0f : ramp > 1 ? 1.0f : ramp);

        inv_freq[i] = 1.0f / ((float)r->factor * pos_freq) * (1.0f - keep) + 1.0f / pos_freq * keep;
    }
    if (scale == 0 && r->mscale != 0 && r->mscale_all_dim != 0)
        scale = mscale(r->factor, r->mscale) / mscale(r->factor, r->mscale_all_dim);
    else if (scale == 0)
        scale = mscale(r->factor, 1);
    *attention_scale = (float)scale;
}

void apus_rope_frequencies(const apus_config *config, float *inv_freq, float *attention_scale)
{
    *attention_scale = 1.0f;
    default_frequencies(config, inv_freq);
    switch (config->rope.kind) {
    case APUS_ROPE_NONE:
        break;
    case APUS_ROPE_LINEAR:
        for (uint32_t i = 0; i < config->head_dim / 2; i++)
            inv_freq[i] /= (float)config->rope.factor;
        break;
    case APUS_ROPE_LLAMA3:
        llama3_frequencies(config, inv_freq);
        break;
    case APUS_ROPE_YARN:
        yarn_frequencies(config, inv_freq, attention_scale);
        break;
    }
}
